"""What goes on beside the requests: kept until it ends, and a failure is logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from toolway.errors import ToolwayError

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

    def hand_over(self, task: asyncio.Task[Any], to: Background) -> None:
        """From now on it belongs to another one."""
        self.running.discard(task)
        task.remove_done_callback(self.running.discard)
        to.running.add(task)
        task.add_done_callback(to.running.discard)

    async def done(self) -> None:
        """Wait until nothing runs any more."""
        while self.running:
            await asyncio.wait(self.running)

    async def close(self) -> None:
        """End all of it, but for the task that asks."""
        others = self.running - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _ended(self, what: str, task: asyncio.Task[Any]) -> None:
        self.running.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, ToolwayError):
            log.info("%s failed: %s", what, error.message)
        elif error is not None:
            log.error("%s failed unexpectedly", what, exc_info=error)


@asynccontextmanager
async def beside(what: str, *work: Coroutine[Any, Any, Any]) -> AsyncIterator[None]:
    """Do this work beside the block; it is cancelled and waited for at the end. `what` names it if it fails."""
    background = Background()
    for each in work:
        background.start(each, what)
    try:
        yield
    finally:
        await background.close()
