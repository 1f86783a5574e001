"""How a key is written: `twk_<id>_<secret><checksum>`.

The prefix and the checksum let scanners find leaked keys, and let the gateway refuse typing errors unseen. The id is
public: 64 random bits in hexadecimal. The secret has 256 random bits in base62; the checksum is the CRC-32 of all
before it in base62, as in the tokens of GitHub ("Behind GitHub's new authentication token formats", 2021).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib

import msgspec

PREFIX = "twk_"
PATTERN = "twk_[0-9a-f]{16}_[0-9A-Za-z]{49}"
"""What scanners look for; the documentation has it."""
ID_PATTERN = "[0-9a-f]{16}"

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SECRET_BITS, SECRET_LENGTH = 256, 43
CHECKSUM_LENGTH = 6

_KEY = re.compile(f"twk_({ID_PATTERN})_([0-9A-Za-z]{{{SECRET_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})")


class Presented(msgspec.Struct, frozen=True):
    """A key as somebody presents it; nothing but its writing was looked at."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return f"Presented({self.id!r})"


def new_id() -> str:
    """A public id that nobody has."""
    return secrets.token_hex(8)


def new_secret() -> str:
    """256 random bits."""
    return base62(secrets.randbits(SECRET_BITS), SECRET_LENGTH)


def written(key_id: str, secret: str) -> str:
    """The whole key."""
    body = f"{PREFIX}{key_id}_{secret}"
    return body + checksum(body)


def read(text: str) -> Presented | None:
    """The parts of a key; None when it is not written as one or its checksum is wrong."""
    match = _KEY.fullmatch(text)
    if match is None or checksum(text[:-CHECKSUM_LENGTH]) != match[3]:
        return None
    return Presented(match[1], match[2])


def digest(secret: str) -> bytes:
    """What is stored of a secret. SHA-256 is enough: slow hashes help those who chose a guessable one themselves."""
    return hashlib.sha256(secret.encode()).digest()


def checksum(body: str) -> str:
    """CRC-32 in base62."""
    return base62(zlib.crc32(body.encode()), CHECKSUM_LENGTH)


def base62(number: int, length: int) -> str:
    """The last `length` digits of a number, most significant first."""
    digits = ""
    for _ in range(length):
        number, rest = divmod(number, len(ALPHABET))
        digits = ALPHABET[rest] + digits
    return digits
