"""The one clock."""

from __future__ import annotations

import time


class SystemClock:
    """The machine's clocks; everything that measures or dates goes through it."""

    monotonic = staticmethod(time.monotonic)
    """Seconds that only grow."""

    now = staticmethod(time.time)  # noqa: TID251 - this is the clock
    """Seconds since 1970 (UTC)."""
