"""Correlation ids: what a client may choose, and those that are made here."""

from __future__ import annotations

import re
from random import Random

GIVEN = "json-logging-given"
"""The mark of a request whose id is its client's."""
AT_ONCE = 64
"""So many get their noise together."""
_FINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")


def is_fine(given: bytes) -> bool:
    """Whether it can be used as it is: one token (RFC 9110 section 5.6.2) of at most 128 characters."""
    return _FINE.fullmatch(given) is not None


class Uuids:
    """Makes UUIDs that begin with the time (RFC 9562 section 5.7); they are no secret."""

    def __init__(self) -> None:
        self._noise = Random()  # of this process: seeded by the system after workers were forked
        self._began, self._milliseconds = "", -1
        self._rests: list[str] = []

    def new(self, now: float) -> str:
        """One for this time, in seconds since 1970."""
        if (milliseconds := int(now * 1_000)) != self._milliseconds:
            digits = f"{milliseconds:012x}"
            self._began, self._milliseconds = f"{digits[:8]}-{digits[8:]}", milliseconds
        if not self._rests:
            digits = self._noise.randbytes(9 * AT_ONCE).hex()
            parts = (digits[each : each + 18] for each in range(0, len(digits), 18))
            self._rests = [f"-7{each[:3]}-b{each[3:6]}-{each[6:]}" for each in parts]
        return self._began + self._rests.pop()
