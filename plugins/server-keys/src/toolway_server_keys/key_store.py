"""The keys in the database."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from sqlalchemy import delete, or_, update
from sqlmodel import col, func, select

from toolway.hookspecs.system import Transaction
from toolway.plugin import Clock, Conflict, Database, NotFound
from toolway_server_keys.key import Key, key_of, row_of
from toolway_server_keys.models import KeyRow

log = logging.getLogger(__name__)

PART = "server-keys"
"""What administrative changes of keys are counted under."""
BATCH = 500
"""Rows that are read or deleted at once."""
SERVERS = "server-keys.servers"
"""Alone with this, one makes, changes or ends keys: none is made for a server while it is deleted, none comes back."""
GATEWAY = "gateway"
"""The actor of what nobody asked for."""


class Use(msgspec.Struct, frozen=True):
    """When, from where and with what a key was used last."""

    at: float
    address: str
    client: str


class KeyStore:
    """Reads and changes rows; of changes to one key, each sees what those before it left."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def find(self, key_id: str) -> Key | None:
        """The key, whatever has become of it; raises StoreUnavailable."""
        async with self._database.read() as tx:
            row = await tx.session.get(KeyRow, key_id)
            return None if row is None else key_of(row)

    async def found(self, tx: Transaction, ids: Iterable[str]) -> Mapping[str, Key]:
        """Those of them that exist."""
        wanted, keys = list(ids), dict[str, Key]()
        for start in range(0, len(wanted), BATCH):
            chosen = select(KeyRow).where(col(KeyRow.id).in_(wanted[start : start + BATCH]))
            keys.update({row.id: key_of(row) for row in await tx.session.exec(chosen)})
        return keys

    async def after(self, key_id: str, server: str, count: int) -> Sequence[Key]:
        """The next keys by id, of one server if it is not empty."""
        wanted = select(KeyRow).where(col(KeyRow.id) > key_id).order_by(col(KeyRow.id)).limit(count)
        if server:
            wanted = wanted.where(col(KeyRow.servers).contains(f'"{server}"', autoescape=True))
        async with self._database.read() as tx:
            return [key_of(row) for row in await tx.session.exec(wanted)]

    async def add(self, key: Key, actor: str) -> None:
        """A new one."""
        async with self._database.change(PART, actor, "server-keys.create", f"{PART}/{key.id}") as tx:
            await self._database.alone(tx, SERVERS)
            tx.after = key.trail
            tx.session.add(row_of(key))
            await tx.session.flush()

    async def rotate(self, key_id: str, actor: str, change: Callable[[Key], Key], short: float) -> Key:
        """Replace the present secret as `change` says; nodes forget the secrets that are over in less than `short` s.

        Raises:
            NotFound: it was removed meanwhile. Conflict: it is revoked or has expired.
        """
        async with self._database.change(PART, actor, "server-keys.rotate", f"{PART}/{key_id}") as tx:
            await self._database.alone(tx, SERVERS)
            row = await tx.session.get(KeyRow, key_id)
            if row is None:
                raise NotFound(f"server-keys has no {key_id!r}")
            old, now = key_of(row), self._clock.now()
            if (state := old.state(now)) != "active":
                raise Conflict(f"the key {key_id} is {state}; make a new one")
            new = change(old)
            tx.before, tx.after = old.trail, new.trail
            await tx.session.merge(row_of(new))
            await tx.revoke(old.revoke_key(old.generation - 1))
            if new.previous_until < now + short:
                await tx.revoke(old.revoke_key(old.generation))
        return new

    async def revoke(self, key: Key, actor: str) -> None:
        """End a key with all its secrets; each node forgets them within a second. Raises NotFound."""
        async with self._database.change(PART, actor, "server-keys.revoke", f"{PART}/{key.id}") as tx:
            await self._database.alone(tx, SERVERS)
            row = await tx.session.get(KeyRow, key.id)
            if row is None:
                raise NotFound(f"server-keys has no {key.id!r}")
            tx.before = key_of(row).trail
            row.revoked_at = self._clock.now() if row.revoked_at is None else row.revoked_at
            tx.after = key_of(row).trail
            tx.session.add(row)
            await tx.revoke(key.principal)

    async def made_with(self, credentials: Iterable[str]) -> Sequence[str]:
        """The ids of the keys that have to do with one of these credentials and are not revoked."""
        wanted, found = sorted(credentials), list[str]()
        columns = (KeyRow.made_with, KeyRow.present_with, KeyRow.previous_with)
        async with self._database.read() as tx:
            for start in range(0, len(wanted), BATCH):
                batch = wanted[start : start + BATCH]
                where = or_(*(col(column).in_(batch) for column in columns)) & col(KeyRow.revoked_at).is_(None)
                found += await tx.session.exec(select(KeyRow.id).where(where))
        return found

    async def end(self, key_id: str, credentials: frozenset[str]) -> None:
        """End what a key has from credentials that are over; raises Conflict when nothing is left to do."""
        async with self._database.change(PART, GATEWAY, "server-keys.revoke", f"{PART}/{key_id}") as tx:
            await self._database.alone(tx, SERVERS)
            row = await tx.session.get(KeyRow, key_id)
            old = None if row is None else key_of(row)
            new = None if old is None else old.ended(credentials, self._clock.now())
            if old is None or new is None or new == old:
                raise Conflict(f"the key {key_id} is over already")
            tx.before, tx.after = old.trail, new.trail
            await tx.session.merge(row_of(new))
            await tx.revoke(old.principal if new.revoked_at is not None else old.revoke_key(old.generation - 1))

    async def forsake(self, tx: Transaction, server: str) -> None:
        """Take a server from all its keys."""
        await self._database.alone(tx, SERVERS)
        wanted = select(KeyRow).where(col(KeyRow.servers).contains(f'"{server}"', autoescape=True))
        wanted = wanted.where(col(KeyRow.revoked_at).is_(None))
        for old in [key_of(row) for row in await tx.session.exec(wanted)]:
            await tx.session.merge(row_of(old.without(server, self._clock.now())))
            await tx.revoke(old.principal)
            log.info("the key %s has lost the server %s, which was deleted or is another one now", old.id, server)
        await tx.session.flush()

    async def record(self, uses: Mapping[str, Use]) -> None:
        """Write down last uses; of two nodes the later one counts."""
        async with self._database.write() as tx:
            for key_id, use in sorted(uses.items()):
                before = col(KeyRow.last_used_at)
                where = (col(KeyRow.id) == key_id) & (before.is_(None) | (before < use.at))
                values = {"last_used_at": use.at, "last_address": use.address[:64], "last_client": use.client[:200]}
                await tx.session.exec(update(KeyRow).where(where).values(**values))

    async def prune(self, before: float) -> int:
        """Remove up to `BATCH` keys that ended before this time; how many."""
        ended = func.coalesce(col(KeyRow.revoked_at), col(KeyRow.expires_at))
        async with self._database.write() as tx:
            over = list(await tx.session.exec(select(KeyRow.id).where(ended < before).limit(BATCH)))
            if over:
                await tx.session.exec(delete(KeyRow).where(col(KeyRow.id).in_(over)))
            return len(over)
