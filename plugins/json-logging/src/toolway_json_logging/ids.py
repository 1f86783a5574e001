"""Correlation ids: what a client may choose, and those that are made here."""

from __future__ import annotations

import os
import re

_FINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")


def is_fine(given: bytes) -> bool:
    """Whether it can be used as it is: a token (RFC 9110 section 5.6.2) of at most 128 characters."""
    return _FINE.fullmatch(given) is not None


def uuid7(now: float) -> str:
    """A UUID that begins with the time (RFC 9562 section 5.7); `now` is in seconds since 1970."""
    digits = f"{int(now * 1_000):012x}"
    noise = os.urandom(10).hex()
    variant = "89ab"[int(noise[3], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-7{noise[:3]}-{variant}{noise[4:7]}-{noise[7:19]}"
