"""When to look for new messages: at once after a word from PostgreSQL or this node, else again and again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from toolway.plugin import Database

log = logging.getLogger(__name__)

CHANNEL = "toolway_message"
POLL_SECONDS = 0.05
IDLE_SECONDS = 1.0
"""Between two looks while PostgreSQL tells of new rows: a word may still be lost."""


class Wake:
    """An event that others can set: this node, and with PostgreSQL every node (LISTEN and NOTIFY)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._event = asyncio.Event()
        self._is_told = False

    def set(self) -> None:
        """There is news."""
        self._event.set()

    async def wait(self, seconds: float | None = None) -> None:
        """Return on news, and at the latest after `seconds` (default: as long as is safe)."""
        limit = seconds or (IDLE_SECONDS if self._is_told else POLL_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._event.wait()
        self._event.clear()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Be told of news by the database while the context is open, if it can tell."""
        if self._database.is_sqlite:
            yield
            return
        task = asyncio.create_task(self._listen())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _listen(self) -> None:
        from psycopg import Error

        while True:
            try:
                await self._heed()
            except (Error, OSError):
                log.warning("PostgreSQL does not tell of messages; looking for them every %g s", POLL_SECONDS)
            self._is_told = False
            await asyncio.sleep(IDLE_SECONDS)

    async def _heed(self) -> None:
        """Set the event for each word, on a connection of its own, until that is lost."""
        from psycopg import AsyncConnection

        engine = self._database.engine
        _, parameters = engine.dialect.create_connect_args(engine.url)
        async with await AsyncConnection.connect(**parameters, autocommit=True, connect_timeout=2) as connection:
            await connection.execute(f"listen {CHANNEL}")
            self._is_told = True
            self._event.set()
            async for _ in connection.notifies():
                self._event.set()
