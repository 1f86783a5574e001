"""The cache as a part of a running gateway: copies outlive reloads, orders reach all nodes, what is too old goes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from toolway.plugin import Kernel
from toolway_cache.cache import Cache
from toolway_cache.kept import Kept
from toolway_cache.orders import Order
from toolway_cache.settings import CacheSettings
from toolway_cache.shared import SharedCopies

log = logging.getLogger(__name__)

CHANNEL = "cache"
TELL_SECONDS = 0.05
"""Orders that come within this time are told to other nodes together."""
AGAIN_SECONDS = 1.0
SWEEP_SECONDS = 5.0


class Keeping:
    """A service; what it hears of news and of calls that change something is done here at once, and then elsewhere."""

    name = "cache"

    def __init__(
        self, kernel: Kernel, settings: CacheSettings, cache: Cache, shared: SharedCopies | None = None
    ) -> None:
        self._kernel, self._settings, self._cache, self._shared = kernel, settings, cache, shared
        self._id = secrets.token_hex(8)
        self._due: dict[Order, None] = {}
        self._wake = asyncio.Event()
        cache.wrote = lambda upstream: self.tell(Order((upstream,)))
        kernel.catalog.on_news(self.hear)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`."""
        await self._take_over()
        async with self._kernel.pubsub.subscribe(CHANNEL, self._heard):
            tasks = [asyncio.create_task(each) for each in (self._telling(), self._sweeping())]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task

    def hear(self, upstream: str, method: str, uri: str) -> None:
        """An upstream said that something changed."""
        if (order := Order.of_news(upstream, method, uri)) is not None:
            order.apply(self._cache.kept)
            self.tell(order)

    def tell(self, order: Order) -> None:
        """Let the other nodes do what was done here."""
        if self._shared is not None:
            self._shared.changed(order.upstreams)
        self._due[msgspec.structs.replace(order, by=self._id)] = None
        self._wake.set()

    async def _take_over(self) -> None:
        """Use what the gateway before this one kept, if it had the same settings."""

        async def kept() -> Kept:
            return self._cache.kept

        self._cache.kept = await self._kernel.keep("cache", self._settings.model_dump_json(), kept)

    async def _heard(self, payload: bytes) -> None:
        order = msgspec.json.decode(payload, type=Order)
        if order.by != self._id:
            order.apply(self._cache.kept)

    async def _telling(self) -> None:
        """First the store has to know: whoever drops copies would else find them there."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            due, self._due = self._due, {}
            try:
                if self._shared is not None:
                    await self._shared.forget()
                while due:
                    await self._kernel.pubsub.publish(CHANNEL, msgspec.json.encode(next(iter(due))))
                    due.pop(next(iter(due)))
            except Exception as error:  # noqa: BLE001 - a store may fail in any way; told again
                log.warning("other nodes are not told yet what to drop, which is tried again: %s", error)
                self._due.update({Order(order.upstreams, by=order.by): None for order in due})
                self._wake.set()
                await asyncio.sleep(AGAIN_SECONDS)
            await asyncio.sleep(TELL_SECONDS)

    async def _sweeping(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._cache.kept.entries.sweep(self._kernel.clock.monotonic())
