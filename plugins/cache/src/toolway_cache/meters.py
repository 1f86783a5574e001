"""What is counted for whoever watches the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from toolway.hookspecs.telemetry import Metrics
from toolway_cache.cache import Cache
from toolway_cache.counts import OUTCOMES
from toolway_cache.entries import Reason

REASONS: tuple[Reason, ...] = ("full", "expired", "dropped")


class CacheMeters:
    """A service: what is sampled is that of the gateway that serves, not of one that is only built."""

    name = "cache-meters"

    def __init__(self, metrics: Metrics, cache: Cache) -> None:
        self._metrics, self._cache = metrics, cache
        about = "Calls that a copy could answer: what did (hit, stale, joined: somebody else's call), miss, or refresh."
        by = {"upstream": None, "outcome": OUTCOMES}
        self._requests = metrics.counter("toolway_cache_requests_total", about, by)
        about = "Copies that went: no room for all, too old, or dropped because something changed."
        self._left = metrics.counter("toolway_cache_removals_total", about, {"reason": REASONS})
        if metrics.is_read:
            cache.told = lambda upstream, outcome: self._requests.add(1, upstream, outcome)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`."""
        kept = self._cache.kept
        for reason in REASONS:
            self._left.add(0, reason)
        kept.told = lambda reason: self._left.add(1, reason)
        self._metrics.sampled("toolway_cache_bytes", "Memory that copies take.", lambda: kept.entries.bytes)
        self._metrics.sampled("toolway_cache_entries", "Copies that are kept.", lambda: len(kept.entries))
        yield
