"""Publish/subscribe of several nodes without a server of its own: rows that every node reads in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import delete, func, text
from sqlmodel import col, select

from toolway.builtin.pubsub_memory import Listeners
from toolway.catalog.models import MessageRow
from toolway.catalog.store import Store
from toolway.errors import StoreUnavailable
from toolway.hookspecs.caching import Listener
from toolway.plugin.kernel import Clock

log = logging.getLogger(__name__)

POLL_SECONDS = 0.05
KEEP_SECONDS = 60.0
SWEEP_SECONDS = 30.0


class DatabasePubSub:
    """Polls for rows newer than the last one it saw, while anybody listens; publishing wakes this node at once."""

    name = "database"

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._listeners = Listeners()
        self._poller: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._position = 0
        self._swept = 0.0

    async def publish(self, channel: str, payload: bytes) -> None:
        """See `PubSub`."""
        async with self._store.write() as tx:
            if not self._store.is_sqlite:  # rows become visible in the order of their ids
                await tx.session.exec(text("select pg_advisory_xact_lock(4441)"))  # type: ignore[call-overload]
            tx.session.add(MessageRow(channel=channel, payload=payload, expires_at=self._clock.now() + KEEP_SECONDS))
            if self._clock.now() - self._swept > SWEEP_SECONDS:
                self._swept = self._clock.now()
                await tx.session.exec(delete(MessageRow).where(col(MessageRow.expires_at) < self._swept))
        self._wake.set()

    @asynccontextmanager
    async def subscribe(self, channel: str, listener: Listener) -> AsyncIterator[None]:
        """See `PubSub`."""
        if self._poller is None:
            self._position = await self._newest()
            self._poller = asyncio.create_task(self._poll())
        async with self._listeners.listening(channel, listener):
            yield
        if not self._listeners and self._poller is not None:
            self._poller.cancel()
            self._poller = None

    async def _newest(self) -> int:
        async with self._store.read() as tx:
            return (await tx.session.exec(select(func.max(MessageRow.id)))).one() or 0

    async def _poll(self) -> None:
        while True:
            try:
                await self._deliver_new()
            except StoreUnavailable:
                log.warning("messages between nodes wait: the database does not answer")
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def _deliver_new(self) -> None:
        async with self._store.read() as tx:
            newer = select(MessageRow).where(col(MessageRow.id) > self._position).order_by(col(MessageRow.id))
            rows = list(await tx.session.exec(newer))
        for row in rows:
            self._position = row.id or self._position
            await self._listeners.deliver(row.channel, row.payload)
