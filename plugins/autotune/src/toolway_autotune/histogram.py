"""How long things take, in few numbers."""

from __future__ import annotations

import math

BASE = 1.1
"""Each bucket is so much wider than the one before: percentiles are within 5 %."""
SHORTEST, LONGEST = 1e-4, 3600.0
"""Seconds; what is outside counts as these, so that there are at most 184 buckets."""
NEGLIGIBLE = 1e-3

_LOG_BASE = math.log(BASE)


class Histogram:
    """Counts durations in buckets that grow exponentially; what is old counts less and less."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self._counts: dict[int, float] = {}
        self.total = 0.0

    def add(self, seconds: float, count: float = 1.0) -> None:
        """One more, or a few."""
        index = 0
        if seconds > SHORTEST:
            index = math.ceil(math.log(min(seconds, LONGEST) / SHORTEST) / _LOG_BASE)
        self._counts[index] = self._counts.get(index, 0.0) + count
        self.total += count

    def merge(self, other: Histogram) -> None:
        """Add what the other one counted."""
        for index, count in other._counts.items():
            self._counts[index] = self._counts.get(index, 0.0) + count
        self.total += other.total

    def decay(self, factor: float) -> None:
        """From now on, everything so far counts as this part of itself."""
        kept = {index: count * factor for index, count in self._counts.items()}
        self._counts = {index: count for index, count in kept.items() if count > NEGLIGIBLE}
        self.total = sum(self._counts.values())

    def percentile(self, share: float) -> float:
        """The seconds that this share (0 to 1) does not exceed; 0 when nothing was counted."""
        left = share * self.total
        index = 0
        for index in sorted(self._counts):
            left -= self._counts[index]
            if left <= 1e-9 * self.total:
                break
        return SHORTEST * BASE ** (index - 0.5) if self._counts else 0.0

    def __len__(self) -> int:
        """The number of buckets."""
        return len(self._counts)
