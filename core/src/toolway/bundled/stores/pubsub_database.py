"""Publish/subscribe of several nodes without a server of its own: rows that every node reads in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import delete, func
from sqlmodel import col, select

from toolway.bundled.stores.models import MessageRow
from toolway.bundled.stores.pubsub_memory import Listeners
from toolway.bundled.stores.pubsub_wake import CHANNEL, Wake
from toolway.hookspecs.caching import Listener
from toolway.hookspecs.system import Transaction
from toolway.plugin import Clock, Database, StoreUnavailable

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
KEEP_SECONDS = 60.0
SWEEP_SECONDS = 30.0
BATCH = 100


class DatabasePubSub:
    """While anybody listens, a task reads the rows that are newer than the last one it saw."""

    name = "database"

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._listeners = Listeners()
        self._changing = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._wake = Wake(database)
        self._position = 0
        self._swept = 0.0

    async def publish(self, channel: str, payload: bytes) -> None:
        """See `PubSub`."""
        row = MessageRow(channel=channel, payload=payload, expires_at=self._clock.now() + KEEP_SECONDS)
        async with self._database.write() as tx:
            await self._database.alone(tx, "message")  # so that rows become visible in the order of their ids
            tx.session.add(row)
            await tx.session.flush()
            if not self._database.is_sqlite:
                await tx.session.exec(select(func.pg_notify(CHANNEL, str(row.id))))
            await self._sweep(tx)
        self._wake.set()

    @asynccontextmanager
    async def subscribe(self, channel: str, listener: Listener) -> AsyncIterator[None]:
        """See `PubSub`."""
        async with self._changing:
            if self._reader is None:
                self._position = await self._newest()
                self._reader = asyncio.create_task(self._read())
            listening = self._listeners.listening(channel, listener)
        try:
            with listening:
                yield
        finally:
            async with self._changing:
                await self._stop_when_alone()

    async def _stop_when_alone(self) -> None:
        if self._listeners or self._reader is None:
            return
        reader, self._reader = self._reader, None
        self._wake.set()
        if reader is not asyncio.current_task():
            await reader

    async def _newest(self) -> int:
        async with self._database.read() as tx:
            return (await tx.session.exec(select(func.max(MessageRow.id)))).one() or 0

    async def _read(self) -> None:
        """Ends by itself when nobody listens any more."""
        async with self._wake.listening():
            while self._listeners:
                try:
                    while await self._deliver_new():
                        pass
                except StoreUnavailable:
                    log.warning("messages between nodes wait: the database does not answer")
                    await self._wake.wait(RETRY_SECONDS)
                await self._wake.wait()

    async def _deliver_new(self) -> bool:
        """Deliver the next rows; whether there may be more."""
        newer = select(MessageRow).where(col(MessageRow.id) > self._position).order_by(col(MessageRow.id)).limit(BATCH)
        async with self._database.read() as tx:
            rows = list(await tx.session.exec(newer))
        for row in rows:
            self._position = row.id or self._position
            await self._listeners.deliver(row.channel, row.payload)
        return len(rows) == BATCH

    async def _sweep(self, tx: Transaction) -> None:
        now = self._clock.now()
        if now - self._swept > SWEEP_SECONDS:
            self._swept = now
            await tx.session.exec(delete(MessageRow).where(col(MessageRow.expires_at) < now))
