"""Several nodes that count in one key-value store, which can be away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace
from typing import Any

from limited import limiter

from toolway.bundled.stores.keyvalue_memory import MemoryKeyValue
from toolway.hookspecs.caching import KeyValueStore
from toolway.plugin import Clock, StoreUnavailable
from toolway_rate_limit.limiter import Limiter
from toolway_rate_limit.shared_store import SharedStore


class Troubled:
    """A store that is `down` (it fails), `stuck` (it does not answer), or counts what is asked of it."""

    name = "troubled"

    def __init__(self, clock: Clock) -> None:
        self._inner = MemoryKeyValue(clock)
        self.is_down = False
        self.stuck: asyncio.Event | None = None
        self.asked = 0

    async def get(self, key: str) -> bytes | None:
        await self._trouble()
        return await self._inner.get(key)

    async def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        await self._trouble()
        await self._inner.set(key, value, ttl)

    async def delete(self, key: str) -> bool:
        await self._trouble()
        return await self._inner.delete(key)

    async def increment(self, key: str, by: int = 1, ttl: float | None = None) -> int:
        await self._trouble()
        return await self._inner.increment(key, by, ttl)

    async def compare_and_set(self, key: str, old: bytes | None, new: bytes, ttl: float | None = None) -> bool:
        await self._trouble()
        return await self._inner.compare_and_set(key, old, new, ttl)

    def scan(self, prefix: str) -> AsyncIterator[str]:
        if self.is_down:
            raise StoreUnavailable("the store is down")
        return self._inner.scan(prefix)

    def lock(self, key: str, ttl: float) -> AbstractAsyncContextManager[int | None]:
        return self._inner.lock(key, ttl)

    async def _trouble(self) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.stuck is not None:
            await self.stuck.wait()
        if self.is_down:
            raise StoreUnavailable("the store is down")


class Node:
    """One of those who share the limits."""

    def __init__(
        self,
        name: str,
        keyvalue: KeyValueStore,
        clock: Clock,
        *rules: Mapping[str, Any],
        wait: float = 2.0,
        **settings: Any,
    ) -> None:
        kernel: Any = SimpleNamespace(keyvalue=keyvalue, clock=clock, node=name)
        self.store = SharedStore(kernel, wait)
        self.limited: Limiter = limiter(clock, *rules, store=self.store, **settings)
