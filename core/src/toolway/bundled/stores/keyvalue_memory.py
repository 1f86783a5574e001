"""The key-value store of a single process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from toolway.plugin import Clock

MOST_ENTRIES = 200_000


class MemoryKeyValue:
    """Entries in a dictionary; the least recently written ones go when there are too many."""

    name = "memory"

    def __init__(self, clock: Clock, most: int = MOST_ENTRIES) -> None:
        self._clock = clock
        self._most = most
        self._entries: OrderedDict[str, tuple[bytes, float | None]] = OrderedDict()
        self._leases: dict[str, float] = {}
        self._fence = 0

    async def get(self, key: str) -> bytes | None:
        """See `KeyValueStore`."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, expires = entry
        if expires is not None and expires <= self._clock.monotonic():
            del self._entries[key]
            return None
        return value

    async def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `KeyValueStore`."""
        self._entries[key] = (value, None if ttl is None else self._clock.monotonic() + ttl)
        self._entries.move_to_end(key)
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)

    async def delete(self, key: str) -> bool:
        """See `KeyValueStore`."""
        there = await self.get(key) is not None
        self._entries.pop(key, None)
        return there

    async def increment(self, key: str, by: int = 1, ttl: float | None = None) -> int:
        """See `KeyValueStore`."""
        current = await self.get(key)
        if current is None:
            await self.set(key, str(by).encode(), ttl)
            return by
        number = int(current) + by
        self._entries[key] = (str(number).encode(), self._entries[key][1])
        return number

    async def compare_and_set(self, key: str, old: bytes | None, new: bytes, ttl: float | None = None) -> bool:
        """See `KeyValueStore`."""
        if await self.get(key) != old:
            return False
        await self.set(key, new, ttl)
        return True

    async def scan(self, prefix: str) -> AsyncIterator[str]:
        """See `KeyValueStore`."""
        for key in [key for key in self._entries if key.startswith(prefix)]:
            if await self.get(key) is not None:
                yield key

    @asynccontextmanager
    async def lock(self, key: str, ttl: float) -> AsyncIterator[int | None]:
        """See `KeyValueStore`."""
        now = self._clock.monotonic()
        if self._leases.get(key, 0.0) > now:
            yield None
            return
        self._fence += 1
        until = self._leases[key] = now + ttl
        try:
            yield self._fence
        finally:
            if self._leases.get(key) == until:
                del self._leases[key]
