"""Counts calls and faults of the last seconds, in ten buckets."""

from __future__ import annotations

BUCKETS = 10


class Window:
    """A window of `seconds` that slides a tenth at a time; times are monotonic seconds."""

    __slots__ = ("_calls", "_faults", "_newest", "_width")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / BUCKETS
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._calls = [0] * BUCKETS
        self._faults = [0] * BUCKETS
        self._newest = 0

    def add(self, now: float, *, is_fault: bool) -> None:
        """Count one call."""
        number = int(now / self._width)
        if number > self._newest:
            self._slide(number)
        index = number % BUCKETS
        self._calls[index] += 1
        if is_fault:
            self._faults[index] += 1

    def totals(self, now: float) -> tuple[int, int]:
        """Calls and faults in the window."""
        number = int(now / self._width)
        if number > self._newest:
            self._slide(number)
        return sum(self._calls), sum(self._faults)

    def _slide(self, number: int) -> None:
        for each in range(max(self._newest + 1, number - BUCKETS + 1), number + 1):
            self._calls[each % BUCKETS] = self._faults[each % BUCKETS] = 0
        self._newest = number
