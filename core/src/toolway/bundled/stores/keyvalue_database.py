"""The key-value store of several nodes without a server of its own: rows with expiry."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import delete
from sqlmodel import col, select

from toolway.bundled.stores.models import LeaseRow, ValueRow
from toolway.hookspecs.system import Transaction
from toolway.plugin import Clock, Database


class DatabaseKeyValue:
    """Entries in the table `keyvalue`; expired ones are seen as absent and swept now and then."""

    name = "database"

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._swept = 0.0

    async def get(self, key: str) -> bytes | None:
        """See `KeyValueStore`."""
        async with self._database.read() as tx:
            row = await tx.session.get(ValueRow, key)
            return row.value if row is not None and self._lives(row) else None

    async def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `KeyValueStore`."""
        async with self._writing(key) as tx:
            await self._put(tx, key, value, ttl)
            await self._sweep(tx)

    async def delete(self, key: str) -> bool:
        """See `KeyValueStore`."""
        async with self._writing(key) as tx:
            row = await tx.session.get(ValueRow, key)
            if row is None:
                return False
            await tx.session.delete(row)
            return self._lives(row)

    async def increment(self, key: str, by: int = 1, ttl: float | None = None) -> int:
        """See `KeyValueStore`."""
        async with self._writing(key) as tx:
            row = await tx.session.get(ValueRow, key)
            if row is None or not self._lives(row):
                await self._put(tx, key, str(by).encode(), ttl)
                return by
            number = int(row.value) + by
            row.value = str(number).encode()
            tx.session.add(row)
            return number

    async def compare_and_set(self, key: str, old: bytes | None, new: bytes, ttl: float | None = None) -> bool:
        """See `KeyValueStore`."""
        async with self._writing(key) as tx:
            row = await tx.session.get(ValueRow, key)
            current = row.value if row is not None and self._lives(row) else None
            if current != old:
                return False
            await self._put(tx, key, new, ttl)
            return True

    async def scan(self, prefix: str) -> AsyncIterator[str]:
        """See `KeyValueStore`."""
        async with self._database.read() as tx:
            rows = await tx.session.exec(select(ValueRow).where(col(ValueRow.key).startswith(prefix, autoescape=True)))
            keys = [row.key for row in rows if self._lives(row)]
        for key in keys:
            if key.startswith(prefix):  # SQLite's LIKE does not tell cases apart
                yield key

    @asynccontextmanager
    async def lock(self, key: str, ttl: float) -> AsyncIterator[int | None]:
        """See `KeyValueStore`."""
        holder = secrets.token_hex(16)
        fence = await self._acquire(key, holder, ttl)
        try:
            yield fence
        finally:
            if fence is not None:
                await self._give_back(key, holder)

    @asynccontextmanager
    async def _writing(self, key: str) -> AsyncIterator[Transaction]:
        """A transaction during which nobody else changes `key`, whether it is there or not."""
        async with self._database.write() as tx:
            await self._database.alone(tx, f"keyvalue:{key}")
            yield tx

    async def _acquire(self, key: str, holder: str, ttl: float) -> int | None:
        async with self._writing(key) as tx:
            now = self._clock.now()
            lease = await tx.session.get(LeaseRow, key)
            if lease is None:
                lease = LeaseRow(key=key, holder=holder, fence=0, expires_at=0.0)
            if lease.expires_at > now:
                return None
            lease.holder, lease.fence, lease.expires_at = holder, lease.fence + 1, now + ttl
            tx.session.add(lease)
            return lease.fence

    async def _give_back(self, key: str, holder: str) -> None:
        async with self._writing(key) as tx:
            lease = await tx.session.get(LeaseRow, key)
            if lease is not None and lease.holder == holder:
                lease.expires_at = 0.0
                tx.session.add(lease)

    async def _put(self, tx: Transaction, key: str, value: bytes, ttl: float | None) -> None:
        expires = None if ttl is None else self._clock.now() + ttl
        await tx.session.merge(ValueRow(key=key, value=value, expires_at=expires))
        await tx.session.flush()

    async def _sweep(self, tx: Transaction) -> None:
        now = self._clock.now()
        if now - self._swept > 60.0:
            self._swept = now
            await tx.session.exec(delete(ValueRow).where(col(ValueRow.expires_at) <= now))

    def _lives(self, row: ValueRow) -> bool:
        return row.expires_at is None or row.expires_at > self._clock.now()
