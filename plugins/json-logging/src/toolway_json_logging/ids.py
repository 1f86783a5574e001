"""Correlation ids: what a client may choose, and those that are made here."""

from __future__ import annotations

import re
from functools import lru_cache
from random import Random

GIVEN = "json-logging-given"
"""The mark of a request whose id is its client's."""
_FINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")


def is_fine(given: bytes) -> bool:
    """Whether it can be used as it is: a token (RFC 9110 section 5.6.2) of at most 128 characters."""
    return _FINE.fullmatch(given) is not None


def uuid7(now: float, noise: Random) -> str:
    """A UUID that begins with the time (RFC 9562 section 5.7); `now` is in seconds since 1970. It is no secret."""
    noisy = noise.randbytes(9).hex()
    return f"{_began(int(now * 1_000))}{noisy[:3]}-b{noisy[3:6]}-{noisy[6:]}"


@lru_cache(4)
def _began(milliseconds: int) -> str:
    return f"{milliseconds >> 16:08x}-{milliseconds & 65535:04x}-7"
