"""The key-value store as this plugin sees it: when it is away, no call waits for it until it is back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from toolway.plugin import Kernel, beside

log = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
"""How often a store that is away is asked whether it is back."""
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
        self.is_away = False
        """It failed, or was too slow, when it was last asked."""

    def failed(self, reason: object) -> None:
        """It did not answer, or too late."""
        if not self.is_away:
            part = f"one of {self.nodes} parts of them" if self.nodes > 1 else "each of them alone"
            log.warning("the key-value store is away (%s); this node keeps to the limits with %s", reason, part)
        self.is_away = True

    def answered(self) -> None:
        """It works."""
        if self.is_away:
            log.info("the key-value store is back; limits are counted by all %d nodes together", self.nodes)
        self.is_away = False

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`."""
        async with beside(self.name, self._beats()):
            yield

    async def beat(self) -> None:
        """Say that this node is there, and see who else is."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await self.keyvalue.set(f"{PREFIX}{self._node}", b"", FORGOTTEN_SECONDS)
            took = loop.time() - began
            self.nodes = max(1, len([key async for key in self.keyvalue.scan(PREFIX)]))
        except Exception as error:  # noqa: BLE001 - a store may fail in any way; limits go on without it
            self.failed(error)
        else:
            self.answered() if took <= self.wait else self.failed(f"it took {took:.1f} s")
        for share in self.on_nodes:
            share(self.nodes)
        for listener in self.on_beat:
            await listener()

    async def _beats(self) -> None:
        while True:
            await self.beat()
            for _ in range(round(BEAT_SECONDS / PAUSE_SECONDS)):
                await asyncio.sleep(PAUSE_SECONDS)
                if self.is_away:
                    break
