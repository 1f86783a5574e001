"""What goes on beside the requests: kept until it ends, and a failure is logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from functools import partial
from typing import Any

log = logging.getLogger(__name__)


class Background:
    """Tasks that nobody waits for."""

    def __init__(self) -> None:
        self.running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any], what: str) -> asyncio.Task[Any]:
        """Do it; `what` names it in the log should it fail."""
        task = asyncio.create_task(work)
        self.running.add(task)
        task.add_done_callback(partial(self._ended, what))
        return task

    def cancel(self) -> None:
        """End all of it."""
        for task in list(self.running):
            task.cancel()

    async def done(self) -> None:
        """Wait until nothing runs any more."""
        while self.running:
            await asyncio.wait(self.running)

    def _ended(self, what: str, task: asyncio.Task[Any]) -> None:
        self.running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed unexpectedly", what, exc_info=error)
