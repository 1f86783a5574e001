"""Resources that outlive a reload: shared by old and new gateway while their fingerprint is equal."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar, cast

import msgspec

T = TypeVar("T")
Close = Callable[[Any], Awaitable[None]]
log = logging.getLogger(__name__)


class Kept(msgspec.Struct):
    """One resource, how it ends, and how many gateways hold it."""

    value: Any
    close: Close | None
    holders: int = 0


class Keeper:
    """All kept resources of the process, by key and fingerprint; `node` is what other processes call this one."""

    def __init__(self) -> None:
        self.node = secrets.token_hex(6)
        self._kept: dict[tuple[str, str], Kept] = {}
        self._making: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    def holder(self) -> Holder:
        """A new gateway's view."""
        return Holder(self)

    async def take(self, name: tuple[str, str], factory: Callable[[], Awaitable[T]], close: Close | None) -> T:
        """The resource of that key and fingerprint, made when nobody holds one."""
        async with self._making[name]:
            if name not in self._kept:
                self._kept[name] = Kept(await factory(), close)
            kept = self._kept[name]
            kept.holders += 1
            return cast(T, kept.value)

    async def give_back(self, name: tuple[str, str]) -> None:
        """One holder less; the last one closes it. A failure to close is logged, others still end."""
        kept = self._kept[name]
        kept.holders -= 1
        if kept.holders == 0:
            del self._kept[name]
            try:
                if kept.close is not None:
                    await kept.close(kept.value)
            except Exception:
                log.exception("closing the kept resource %s failed", name[0])


class Holder:
    """What one gateway holds; everything is given back together, newest first."""

    def __init__(self, keeper: Keeper) -> None:
        self.node, self._keeper = keeper.node, keeper
        self._held = AsyncExitStack()

    async def keep(
        self, key: str, fingerprint: str, factory: Callable[[], Awaitable[T]], close: Close | None = None
    ) -> T:
        """See `Kernel.keep`."""
        value = await self._keeper.take((key, fingerprint), factory, close)
        self._held.push_async_callback(self._keeper.give_back, (key, fingerprint))
        return value

    async def release(self) -> None:
        """The gateway is gone."""
        await self._held.aclose()
