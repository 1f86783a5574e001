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
    """UUIDs that begin with the time (RFC 9562 section 5.7), and are no secret: `begin` with one of the `rests`.

    The begin is for a time of less than 1 ms after `milliseconds` since 1970, the rests are for one use each.
    """

    def __init__(self) -> None:
        self._noise = Random()  # of this process: seeded by the system after workers were forked
        self.begin, self.milliseconds = "", -1.0
        self.rests: list[str] = []

    def renew(self, milliseconds: int) -> None:
        """For this time, and with something left."""
        digits = f"{milliseconds:012x}"
        self.begin, self.milliseconds = f"{digits[:8]}-{digits[8:]}", milliseconds
        if not self.rests:
            digits = self._noise.randbytes(8).hex()
            noise = f"-b{digits[:3]}-{digits[3:15]}"
            self.rests = [number + noise for number in _NUMBERS]
