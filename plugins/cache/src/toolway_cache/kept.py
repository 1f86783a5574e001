"""What outlives a reload: copies, calls under way, counts."""

from __future__ import annotations

from collections.abc import Callable

from toolway_cache.counts import Counts
from toolway_cache.entries import Entries, Entry, Reason
from toolway_cache.flights import Flights


class Kept:
    """All of it; `told` hears why copies went. A generation of an upstream ends when something may have changed."""

    def __init__(self, memory: int) -> None:
        self.entries, self.flights, self.counts = Entries(memory, self._gone), Flights(), Counts()
        self.told: Callable[[Reason], None] = lambda reason: None
        self._generations: dict[str, int] = {}

    def generation(self, upstream: str) -> int:
        """Answers to calls that began in another one are not kept."""
        return self._generations.get(upstream, 0)

    def drop(self, upstream: str, matches: Callable[[Entry], bool] | None = None) -> int:
        """Forget the copies of an upstream, or some; how many. Calls under way bring none any more."""
        self._generations[upstream] = self.generation(upstream) + 1
        self.flights.part(upstream)
        return self.entries.drop(upstream, matches)

    def _gone(self, entry: Entry, reason: Reason) -> None:
        self.counts.gone(entry, reason)
        self.told(reason)
