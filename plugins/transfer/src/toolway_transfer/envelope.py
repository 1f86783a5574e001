"""Credentials of an export, encrypted: a JWE (RFC 7516) in the general JSON serialization, for several recipients.

A passphrase is one of them: scrypt (RFC 7914) makes the key that wraps the content's key. This works without a gateway.
"""

from __future__ import annotations

import base64
import hashlib
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import msgspec
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from pydantic import BaseModel, ConfigDict, Field

from toolway.plugin import InvalidInput

PublicKey = ECKey | OKPKey | RSAKey

PASSPHRASE = "passphrase"  # noqa: S105 - what the recipient is called
SHORTEST_PASSPHRASE = 12
MOST_RECIPIENTS = 20
WORK: Literal[65536] = 65536
"""With r = 8 and p = 2, what OWASP recommends for passwords."""
LEAST_WORK: Literal[16384] = 16384
LARGEST = 64 << 20
"""Bytes of a ciphertext; the library's own limit is for tokens."""


class Scrypt(BaseModel):
    """How the passphrase becomes a key; the bounds keep a hostile file from using up memory (128 * n * r bytes)."""

    model_config = ConfigDict(extra="forbid")

    kdf: Literal["scrypt"] = "scrypt"
    n: Literal[16384, 32768, 65536, 131072]
    r: Literal[8] = 8
    p: int = Field(2, ge=1, le=2)
    salt: str = Field(pattern=r"^[A-Za-z0-9_-]{22,86}$", description="In base64url.")

    def key(self, passphrase: str) -> OctKey:
        """256 bits; takes about half a second."""
        salt = base64.urlsafe_b64decode(self.salt + "=" * (-len(self.salt) % 4))
        made = hashlib.scrypt(passphrase.encode(), salt=salt, n=self.n, r=self.r, p=self.p, maxmem=256 << 20, dklen=32)
        return OctKey.import_key(made)


class Envelope(BaseModel):
    """The credentials, encrypted; whoever has the passphrase or one of the private keys can open it."""

    model_config = ConfigDict(extra="forbid")

    passphrase: Scrypt | None = Field(None, description="How the key of the recipient `passphrase` is made.")
    jwe: dict[str, Any] = Field(description="RFC 7516 section 7.2.1.")


Values = Mapping[str, Any]
"""What is encrypted: a JSON object."""


def seal(
    values: Values, passphrase: str | None, recipients: Sequence[PublicKey], *, is_random: bool = False
) -> Envelope:
    """Encrypt for a passphrase and any public keys; raises InvalidInput for none of them, or a weak one.

    A passphrase that `is_random` is a key itself, and becomes one with little work.
    """
    if passphrase is None and not recipients:
        raise InvalidInput("nobody could open the credentials; give a passphrase or a recipient's public key")
    if passphrase is not None and len(passphrase) < SHORTEST_PASSPHRASE:
        raise InvalidInput(f"the passphrase is shorter than {SHORTEST_PASSPHRASE} characters; take a longer one")
    if len(recipients) > MOST_RECIPIENTS:
        raise InvalidInput(f"there are more than {MOST_RECIPIENTS} recipients; encrypt for fewer")
    encryption = jwe.GeneralJSONEncryption({"enc": "A256GCM"}, msgspec.json.encode(values))
    scrypt = None
    if passphrase is not None:
        work = LEAST_WORK if is_random else WORK
        scrypt = Scrypt(n=work, salt=base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode())
        encryption.add_recipient({"alg": "A256KW", "kid": PASSPHRASE}, scrypt.key(passphrase))
    for key in recipients:
        encryption.add_recipient({"alg": _algorithm(key), "kid": key.thumbprint()}, key)
    encrypted: Any = jwe.encrypt_json(encryption, None, registry=_registry())
    return Envelope(passphrase=scrypt, jwe=encrypted)


def unseal(envelope: Envelope, passphrase: str | None, key: PublicKey | None = None) -> dict[str, Any]:
    """The values, with a passphrase or a private key; raises InvalidInput when that does not open it."""
    if key is not None:
        return _opened(envelope, key.thumbprint(), key)
    if passphrase is None:
        raise InvalidInput("the credentials are encrypted; give the passphrase or a private key, or leave them out")
    if envelope.passphrase is None:
        raise InvalidInput("the credentials are not encrypted with a passphrase; give a recipient's private key")
    return _opened(envelope, PASSPHRASE, envelope.passphrase.key(passphrase))


def read_key(text: str) -> PublicKey:
    """A public or private key, as JWK or PEM: of the curves P-256, P-384, P-521 and X25519, or RSA from 2048 bits.

    Raises:
        InvalidInput: it is none of these.
    """
    for kind in (ECKey, OKPKey, RSAKey):
        try:
            with warnings.catch_warnings(action="ignore"):  # what it warns of is refused here
                key: Any = kind.import_key(msgspec.json.decode(text) if text.lstrip().startswith("{") else text)
            _algorithm(key)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError):
            continue
        return cast(PublicKey, key)
    raise InvalidInput("the key is none that can be used; give a JWK or PEM of P-256, X25519 or RSA from 2048 bits")


def _algorithm(key: PublicKey) -> str:
    if isinstance(key, RSAKey):
        if key.public_key.key_size < 2048:
            raise ValueError("too short")
        return "RSA-OAEP-256"
    if key.curve_name not in ("P-256", "P-384", "P-521", "X25519"):
        raise ValueError("a curve for signatures")
    return "ECDH-ES+A256KW"


def _opened(envelope: Envelope, recipient: str, key: Any) -> dict[str, Any]:
    """Only that recipient's entry is looked at: nobody has the keys of all."""
    every = envelope.jwe.get("recipients")
    own = [each for each in every if _kid(each) == recipient] if isinstance(every, list) else []
    if len(own) != 1:
        raise InvalidInput("the credentials are not encrypted for this key; give the key of one of the recipients")
    try:
        one: Any = {**envelope.jwe, "recipients": own}
        found: Any = jwe.decrypt_json(one, key, registry=_registry())
        values = msgspec.json.decode(found.plaintext)
    except (JoseError, ValueError, KeyError, TypeError, msgspec.DecodeError):
        raise InvalidInput(
            "the credentials do not open; the passphrase or key is another one, or they were changed"
        ) from None
    if not isinstance(values, dict):
        raise InvalidInput("what is encrypted is no table of credentials; export it anew")
    return values


def _kid(recipient: Any) -> Any:
    header = recipient.get("header") if isinstance(recipient, dict) else None
    return header.get("kid") if isinstance(header, dict) else None


def _registry() -> jwe.JWERegistry:
    """Algorithms are ours, never the file's."""
    registry = jwe.JWERegistry(algorithms=["A256KW", "ECDH-ES+A256KW", "RSA-OAEP-256", "A256GCM"])
    registry.max_ciphertext_length = LARGEST
    registry.max_recipients = MOST_RECIPIENTS + 1
    return registry
