"""What asks for a reload besides people: SIGHUP, and files that changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from toolway.plugin import Conflict, Kernel, ToolwayError, beside
from toolway_reload.history import Seen, look
from toolway_reload.leader import Leader
from toolway_reload.settings import ReloadSettings

log = logging.getLogger("toolway.reload")


class Triggers:
    """Follows the files that the process reads, and SIGHUP, while it is open."""

    def __init__(self, kernel: Kernel, leader: Leader, settings: ReloadSettings) -> None:
        self._kernel, self._leader, self._settings = kernel, leader, settings
        self._hung_up = asyncio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Ask for reloads."""
        hangups = self._kernel.control.hangups
        hangups.append(self._hung_up.set)
        work = [self._follow_hangups(), *([self._follow_files()] if self._settings.watch else [])]
        try:
            async with beside("reload", *work):
                yield
        finally:
            hangups.remove(self._hung_up.set)

    async def _follow_hangups(self) -> None:
        while True:
            await self._hung_up.wait()
            self._hung_up.clear()
            await self._ask("SIGHUP")

    async def _follow_files(self) -> None:
        """A change counts once it has stayed as it is for a while: whoever saves may write in pieces.

        Workers see the same at once; one of them leads. Each has then seen what it read itself, and asks again for what
        it has not.
        """
        history = self._leader.history
        before = await self._look()
        history.seen = history.seen or before
        while True:
            await asyncio.sleep(self._settings.watch_interval)
            now = await self._look()
            if now == before and now != history.seen:
                await self._ask("the files changed", wait=False)
            before = now

    async def _look(self) -> Seen:
        return await asyncio.to_thread(look, self._kernel.control.files)

    async def _ask(self, by: str, *, wait: bool = True) -> None:
        if self._kernel.phase != "serving":
            return
        try:
            await self._leader.history.lead(self._leader.reload(by, wait=wait))
        except Conflict as error:
            log.log(logging.WARNING if wait else logging.INFO, "no reload for %s from this node: %s", by, error.message)
        except ToolwayError as error:
            log.error("no reload for %s: %s; what was changed is not in force, ask again", by, error.message)
        except Exception:
            log.exception("no reload for %s: it failed unexpectedly; what was changed is not in force", by)
