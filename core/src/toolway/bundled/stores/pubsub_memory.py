"""Publish/subscribe inside one process."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from toolway.hookspecs.caching import Listener

log = logging.getLogger(__name__)


class Listeners:
    """Who listens to which channel; a listener that fails is logged and affects nobody else."""

    def __init__(self) -> None:
        self._channels: dict[str, list[Listener]] = {}

    def __bool__(self) -> bool:
        return bool(self._channels)

    async def deliver(self, channel: str, payload: bytes) -> None:
        """Call them in the order in which they came."""
        for listener in list(self._channels.get(channel, ())):
            try:
                await listener(payload)
            except Exception:
                log.exception("a listener of channel %s failed", channel)

    @contextmanager
    def listening(self, channel: str, listener: Listener) -> Iterator[None]:
        """Listen while the context is open."""
        self._channels.setdefault(channel, []).append(listener)
        try:
            yield
        finally:
            self._channels[channel].remove(listener)
            if not self._channels[channel]:
                del self._channels[channel]


class MemoryPubSub:
    """Messages go straight to the listeners of this process."""

    name = "memory"

    def __init__(self) -> None:
        self._listeners = Listeners()

    async def publish(self, channel: str, payload: bytes) -> None:
        """See `PubSub`."""
        await self._listeners.deliver(channel, payload)

    @asynccontextmanager
    async def subscribe(self, channel: str, listener: Listener) -> AsyncIterator[None]:
        """See `PubSub`."""
        with self._listeners.listening(channel, listener):
            yield
