"""The one clock."""

from __future__ import annotations

import time


class SystemClock:
    """The machine's clocks; everything that measures or dates goes through it."""

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()

    def now(self) -> float:
        """Seconds since 1970 (UTC)."""
        return time.time()  # noqa: TID251 - this is the clock
