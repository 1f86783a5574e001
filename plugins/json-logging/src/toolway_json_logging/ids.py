"""Correlation ids: what a client may choose, and those that are made here."""

from __future__ import annotations

import re
from random import Random

_FINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")


def is_fine(given: bytes) -> bool:
    """Whether it can be used as it is: a token (RFC 9110 section 5.6.2) of at most 128 characters."""
    return _FINE.fullmatch(given) is not None


def uuid7(now: float, noise: Random) -> str:
    """A UUID that begins with the time (RFC 9562 section 5.7); `now` is in seconds since 1970. It is no secret."""
    bits = noise.getrandbits(74)
    number = int(now * 1_000) << 80 | 7 << 76 | (bits >> 62) << 64 | 2 << 62 | bits & (1 << 62) - 1
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
