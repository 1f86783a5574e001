"""Resources that outlive a reload: shared by old and new gateway while their fingerprint is equal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)


class Kept:
    """One resource, how many gateways hold it, and how it ends."""

    def __init__(self, value: Any, close: Callable[[Any], Awaitable[None]] | None) -> None:
        self.value = value
        self.holders = 0
        self._close = close

    async def close(self) -> None:
        """End it; a failure is logged, others still end."""
        if self._close is None:
            return
        try:
            await self._close(self.value)
        except Exception:
            log.exception("closing a kept resource failed")


class Keeper:
    """All kept resources of the process."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Kept] = {}
        self._making: dict[tuple[str, str], asyncio.Lock] = {}

    def holder(self) -> Holder:
        """A new gateway's view."""
        return Holder(self)

    async def take(
        self,
        name: tuple[str, str],
        factory: Callable[[], Awaitable[T]],
        close: Callable[[Any], Awaitable[None]] | None,
    ) -> T:
        """The resource of that key and fingerprint, made when nobody holds one."""
        async with self._making.setdefault(name, asyncio.Lock()):
            kept = self._kept.get(name)
            if kept is None:
                kept = self._kept[name] = Kept(await factory(), close)
            kept.holders += 1
            value: T = kept.value
            return value

    async def give_back(self, name: tuple[str, str]) -> None:
        """One holder less; the last one closes it."""
        kept = self._kept[name]
        kept.holders -= 1
        if kept.holders == 0:
            del self._kept[name]
            await kept.close()


class Holder:
    """What one gateway holds; everything is given back together, newest first."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._held: list[tuple[str, str]] = []

    async def keep(
        self,
        key: str,
        fingerprint: str,
        factory: Callable[[], Awaitable[T]],
        close: Callable[[Any], Awaitable[None]] | None = None,
    ) -> T:
        """See `Kernel.keep`."""
        value = await self._keeper.take((key, fingerprint), factory, close)
        self._held.append((key, fingerprint))
        return value

    async def release(self) -> None:
        """The gateway is gone."""
        while self._held:
            await self._keeper.give_back(self._held.pop())
