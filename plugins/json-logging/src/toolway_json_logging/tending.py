"""What goes on while the gateway serves: levels are followed, streams are noticed, drops are counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from toolway.plugin import Kernel
from toolway_json_logging.access import AccessLog
from toolway_json_logging.followed import Followed
from toolway_json_logging.handler import QueuedHandler

DROPPED = "toolway_log_lines_dropped_total"
REFRESH = 30
"""Seconds after which levels are read again, in case a message was lost; those whose time is over end with it."""


class Tending:
    """A service of the gateway; when it ends, everything that was logged is written."""

    name = "json-logging"

    def __init__(self, kernel: Kernel, handler: QueuedHandler, access: AccessLog | None, followed: Followed) -> None:
        self._handler, self._access, self._followed = handler, access, followed
        self._dropped = kernel.metrics.counter(DROPPED, "Log lines that nobody was there to read.", {})
        self._counted = 0

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`."""
        async with self._followed.following():
            task = asyncio.create_task(self._tend())
            try:
                yield
            finally:
                task.cancel()
                await asyncio.to_thread(self._handler.close)
                self.count()

    def count(self) -> None:
        """Count what was dropped since."""
        dropped = self._handler.writer.dropped
        if dropped > self._counted:
            self._dropped.add(dropped - self._counted)
            self._counted = dropped

    async def _tend(self) -> None:
        seconds = 0
        while True:
            await asyncio.sleep(1)
            seconds += 1
            self.count()
            if self._access is not None:
                self._access.look()
            if seconds % REFRESH == 0 or self._followed.is_over():
                await self._followed.refresh()
