"""The key-value store as this plugin sees it: when it is away for a moment, nobody waits for it again and again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from toolway.plugin import Kernel

log = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
"""After a failure the store is not asked for so long."""
BEAT_SECONDS, FORGOTTEN_SECONDS = 5.0, 16.0
"""How often a node says that it is there, and after what time it is taken for gone."""
PREFIX = "rate-limit:node:"


class SharedStore:
    """Knows whether the store answers and how many nodes count in it; `wait` is the longest wait of a call.

    As a service it says that this node is there; then `on_nodes` are told how many there are, and `on_beat` awaited.
    """

    name = "rate-limit-nodes"

    def __init__(self, kernel: Kernel, wait: float) -> None:
        self.keyvalue, self.clock, self.wait = kernel.keyvalue, kernel.clock, wait
        self.nodes = 1
        self.on_nodes: list[Callable[[int], None]] = []
        self.on_beat: list[Callable[[], Awaitable[None]]] = []
        self._node = kernel.node
        self._again = -math.inf
        self._works = True

    @property
    def is_away(self) -> bool:
        """Whether it failed a moment ago."""
        return self._again > self.clock.monotonic()

    @property
    def state(self) -> str:
        """For reports."""
        return "works" if self._works else "away"

    def failed(self, reason: object) -> None:
        """It did not answer, or too late."""
        if self._works:
            part = f"one of {self.nodes} parts of them" if self.nodes > 1 else "each of them alone"
            log.warning("the key-value store is away (%s); this node keeps to the limits with %s", reason, part)
        self._works = False
        self._again = self.clock.monotonic() + PAUSE_SECONDS

    def answered(self) -> None:
        """It works."""
        if not self._works:
            log.info("the key-value store is back; limits are counted by all %d nodes together", self.nodes)
        self._works, self._again = True, -math.inf

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`."""
        task = asyncio.create_task(self._beats())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def beat(self) -> None:
        """Say that this node is there, and see who else is."""
        try:
            await self.keyvalue.set(f"{PREFIX}{self._node}", b"", FORGOTTEN_SECONDS)
            self.nodes = max(1, len([key async for key in self.keyvalue.scan(PREFIX)]))
        except Exception as error:  # noqa: BLE001 - a store may fail in any way; limits go on without it
            self.failed(error)
        else:
            self.answered()
        for share in self.on_nodes:
            share(self.nodes)
        for listener in self.on_beat:
            await listener()

    async def _beats(self) -> None:
        while True:
            await self.beat()
            await asyncio.sleep(BEAT_SECONDS)
