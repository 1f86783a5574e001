"""A clock that runs ahead of the machine's."""

from __future__ import annotations

import time


class Ahead:
    """`seconds` can be changed at any time."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic() + self.seconds

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time() + self.seconds
