"""What has to be looked at all the time to be known later: log lines, and how late the event loop is."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from toolway.plugin import Kernel, beside
from toolway_diagnostics.database import Revisions, revisions
from toolway_diagnostics.recent_lines import RecentLines

EVERY_SECONDS = 0.25
REMEMBERED = 240
"""A minute."""


class Memory:
    """What outlives reloads."""

    def __init__(self) -> None:
        self.lines = RecentLines()
        self.lags: deque[float] = deque(maxlen=REMEMBERED)
        self.began = monotonic()

    async def close(self) -> None:
        """The process ends."""
        logging.getLogger().removeHandler(self.lines)


class Watch:
    """A service; `revisions` are those of the database when the gateway began."""

    name = "diagnostics"

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.memory = Memory()
        self.revisions: Revisions = {}

    @property
    def worst_lag(self) -> float:
        """The most in the last minute, in seconds."""
        return max(self.memory.lags, default=0.0)

    @property
    def age(self) -> float:
        """Since the process began to serve, in seconds."""
        return monotonic() - self.memory.began

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`."""
        self.memory = await self._kernel.keep("diagnostics", "memory", _memory, Memory.close)
        self.memory.lines.redact = self._kernel.redact
        self._listen()
        self.revisions = await revisions(self._kernel.database)
        async with beside(self.name, self._look()):
            yield

    def _listen(self) -> None:
        """Also when a gateway that took over has put its own handlers there."""
        root = logging.getLogger()
        if self.memory.lines not in root.handlers:
            root.addHandler(self.memory.lines)

    async def _look(self) -> None:
        while True:
            due = monotonic() + EVERY_SECONDS
            await asyncio.sleep(EVERY_SECONDS)
            self.memory.lags.append(max(0.0, monotonic() - due))
            self._listen()


async def _memory() -> Memory:
    return Memory()
