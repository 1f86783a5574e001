"""Correlation ids: what a client may choose, and those that are made here."""

from __future__ import annotations

import re
from random import Random

HEADER = b"x-request-id"
_NUMBERS = [f"-7{number:03x}" for number in reversed(range(64))]
"""Those with the same noise are told apart by a number (RFC 9562 section 6.2, method 1)."""
_FINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")


def is_fine(given: bytes) -> bool:
    """Whether it can be used as it is: one token (RFC 9110 section 5.6.2) of at most 128 characters."""
    return _FINE.fullmatch(given) is not None


class Uuids:
    """Makes UUIDs that begin with the time (RFC 9562 section 5.7); they are no secret."""

    def __init__(self) -> None:
        self._noise = Random()  # of this process: seeded by the system after workers were forked
        self._began, self._milliseconds = "", -1.0
        self._rests: list[str] = []

    def new(self, now: float) -> str:
        """One for this time, in seconds since 1970."""
        if not (self._rests and 0.0 <= now * 1_000 - self._milliseconds < 1.0):
            self._renew(int(now * 1_000))
        return self._began + self._rests.pop()

    def _renew(self, milliseconds: int) -> None:
        digits = f"{milliseconds:012x}"
        self._began, self._milliseconds = f"{digits[:8]}-{digits[8:]}", milliseconds
        if not self._rests:
            digits = self._noise.randbytes(8).hex()
            noise = f"-b{digits[:3]}-{digits[3:15]}"
            self._rests = [number + noise for number in _NUMBERS]
