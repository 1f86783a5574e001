"""What asks for a reload besides people: SIGHUP, and files that changed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from toolway.plugin import Kernel, ToolwayError
from toolway_reload.follower import Follower
from toolway_reload.leader import Leader
from toolway_reload.settings import ReloadSettings

log = logging.getLogger("toolway.reload")

Seen = tuple[tuple[Path, int, int], ...]


class Triggers:
    """Follows the files that the process reads, and SIGHUP, while it is open."""

    def __init__(self, kernel: Kernel, leader: Leader, follower: Follower, settings: ReloadSettings) -> None:
        self._kernel, self._leader, self._follower, self._settings = kernel, leader, follower, settings
        self._hung_up = asyncio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Ask for reloads."""
        hangups = self._kernel.control.hangups
        hangups.append(self._hung_up.set)
        work = [self._follow_hangups(), *([self._follow_files()] if self._settings.watch else [])]
        tasks = [asyncio.create_task(each) for each in work]
        try:
            yield
        finally:
            hangups.remove(self._hung_up.set)
            for task in tasks:
                task.cancel()

    async def _follow_hangups(self) -> None:
        while True:
            await self._hung_up.wait()
            self._hung_up.clear()
            await self._ask("SIGHUP")

    async def _follow_files(self) -> None:
        """A change counts once it has stayed as it is for a while: whoever saves may write in pieces."""
        known = before = await asyncio.to_thread(self._seen)
        changed_at, clock = 0.0, self._kernel.clock
        while True:
            await asyncio.sleep(self._settings.watch_interval)
            now = await asyncio.to_thread(self._seen)
            if now != before:
                changed_at = clock.monotonic()
            elif now != known:
                known = now
                if self._follower.asked_at < changed_at:  # else another worker, or somebody, was faster
                    await self._ask("the files changed")
            before = now

    async def _ask(self, by: str) -> None:
        """Workers may see the same at once; the first one leads, the others follow it."""
        if self._kernel.phase != "serving":
            return
        try:
            await self._leader.reload(by)
        except ToolwayError as error:
            log.info("no reload for %s from this node: %s", by, error.message)

    def _seen(self) -> Seen:
        found = []
        for file in self._kernel.control.files():
            with contextlib.suppress(OSError):
                status = file.stat()
                found.append((file, status.st_mtime_ns, status.st_size))
        return tuple(found)
