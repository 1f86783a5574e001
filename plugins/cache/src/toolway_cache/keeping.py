"""The cache as a part of a running gateway: copies outlive reloads, orders reach all nodes, what is too old goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from toolway.plugin import Kernel, beside
from toolway_cache.cache import Cache
from toolway_cache.kept import Kept
from toolway_cache.nodes import CHANNEL as ANSWERS, Nodes
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
        self.nodes = Nodes(kernel)
        self._due: dict[Order, None] = {}
        self._wake = asyncio.Event()
        cache.wrote = lambda upstream: self.tell(Order((upstream,)))
        kernel.catalog.on_news(self.hear)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`."""
        await self._take_over()
        pubsub, nodes = self._kernel.pubsub, self.nodes
        async with pubsub.subscribe(CHANNEL, self._heard), pubsub.subscribe(ANSWERS, nodes.heard):
            try:
                async with beside("the cache", self._telling(), self._sweeping(), nodes.announce()):
                    yield
            finally:
                await self._cache.refreshes.close()
                await nodes.leave()

    def hear(self, upstream: str, method: str, uri: str) -> None:
        """An upstream said that something changed."""
        if (order := Order.of_news(upstream, method, uri)) is not None:
            order.apply(self._cache.kept)
            self.tell(order)

    def tell(self, order: Order) -> None:
        """Let the other nodes do what was done here."""
        if self._shared is not None:
            self._shared.changed(order.upstreams)
        self._due[msgspec.structs.replace(order, by=self.nodes.id)] = None
        self._wake.set()

    async def drop(self, order: Order) -> tuple[dict[str, int], list[str]]:
        """Drop copies on every node: how many on which, and the nodes that did not say so (all of them: `others`)."""
        removed = {self._kernel.node: order.apply(self._cache.kept)}
        try:
            ask = await self.nodes.ask()
        except Exception as error:  # noqa: BLE001 - a store may fail in any way; this node did what it was told
            log.warning("other nodes are not known, they hear of it later: %s", str(error) or "the store is too slow")
            self.tell(order)
            return removed, ["others"]
        self.tell(msgspec.structs.replace(order, ask=ask))
        answers, silent = await self.nodes.answers(ask)
        for each in answers:
            removed[each.node] = removed.get(each.node, 0) + each.removed
        return removed, silent

    async def _take_over(self) -> None:
        """Use what the gateway before this one kept, if it had the same settings."""

        async def kept() -> Kept:
            return self._cache.kept

        self._cache.kept = await self._kernel.keep("cache", self._settings.model_dump_json(), kept)

    async def _heard(self, payload: bytes) -> None:
        order = msgspec.json.decode(payload, type=Order)
        if order.by != self.nodes.id:
            removed = order.apply(self._cache.kept)
            if order.ask:
                await self.nodes.tell(order.ask, removed)

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
                self._due.update({Order(order.upstreams, by=order.by, ask=order.ask): None for order in due})
                self._wake.set()
                await asyncio.sleep(AGAIN_SECONDS)
            await asyncio.sleep(TELL_SECONDS)

    async def _sweeping(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._cache.kept.entries.sweep(self._kernel.clock.monotonic())
