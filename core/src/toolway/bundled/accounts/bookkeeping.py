"""What is done about sessions beside the requests: writing down when they were used, removing those that are over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from toolway.bundled.accounts.sessions import Sessions
from toolway.hookspecs.caching import KeyValueStore
from toolway.plugin import ToolwayError, beside

log = logging.getLogger(__name__)

SAVE_SECONDS = 30.0
SWEEP_SECONDS = 600.0


class Bookkeeping:
    """A task that does both as long as the gateway runs."""

    name = "accounts"

    def __init__(self, sessions: Sessions, keyvalue: KeyValueStore) -> None:
        self._sessions = sessions
        self._keyvalue = keyvalue

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`."""
        try:
            async with beside(self.name, self._keep()):
                yield
        finally:
            await self._once()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            await self._once()

    async def _once(self) -> None:
        try:
            await self._sessions.save()
            await self._sweep()
        except ToolwayError as error:
            log.warning("the use of sessions could not be written down, next try in %g s: %s", SAVE_SECONDS, error)

    async def _sweep(self) -> None:
        """One node does it, now and then."""
        if await self._keyvalue.compare_and_set("accounts:swept", None, b"1", SWEEP_SECONDS):
            await self._sessions.sweep()
