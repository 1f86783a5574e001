"""The only place that opens transactions: SQLite with one writer at a time, or PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from itertools import product
from typing import Any

import msgspec
from sqlalchemy import Connection, event, func, make_url, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError, TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.util import await_only
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from toolway.catalog.models import RevisionRow, RevocationRow
from toolway.errors import ConfigError, Conflict, SecretUnavailable, StoreUnavailable
from toolway.hookspecs.system import ChangeRecorder, Transaction

log, audit = logging.getLogger(__name__), logging.getLogger("toolway.audit")

REVISIONS_CHANNEL, REVOCATIONS = "toolway.revisions", "revocations"
KEPT_REVOCATIONS = 1_000
"""How many changes that revoked something are kept; a node that missed older ones forgets every credential."""
BUSY_SECONDS, POOL_SECONDS, STATEMENT_MS = 5.0, 2.0, 5000


class Change(msgspec.Struct, eq=False):
    """One transaction; see `hookspecs.system.Change` for what an administrative one tells besides."""

    session: AsyncSession
    part: str = ""
    actor: str = ""
    action: str = ""
    subject: str = ""
    before: Any = None
    after: Any = None
    revision: int = 0
    revoked: list[str] = []
    single: list[Any] = []

    async def revoke(self, *keys: str) -> None:
        """See `hookspecs.system.Transaction`."""
        self.revoked.extend(keys)


class Store:
    """The database of one node. `publish` tells the other nodes of changed parts, once set.

    So does `address` give the URL as it is now: when user or password change, connections are replaced.
    """

    name, critical = "database", True

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.publish: Callable[[str, bytes], Awaitable[None]] | None = None
        self.address: Callable[[], Awaitable[str]] | None = None
        self.recorders: Sequence[ChangeRecorder] = ()
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._writing = asyncio.Lock() if self.is_sqlite else nullcontext()
        self._sessions = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)
        event.listen(engine.sync_engine, "begin", _begin)
        if self.is_sqlite:
            self._read, self._write = "BEGIN", "BEGIN IMMEDIATE"
            event.listen(engine.sync_engine, "do_connect", _make_private)
            event.listen(engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(engine.sync_engine, "invalidate", _let_go)
        else:
            # Travels with BEGIN: it costs no message of its own, and holds behind a pooler, where the next transaction
            # may be on another connection.
            limit = f"SET LOCAL statement_timeout = {STATEMENT_MS}"
            self._read, self._write = f"BEGIN ISOLATION LEVEL REPEATABLE READ; {limit}", f"BEGIN; {limit}"
            event.listen(engine.sync_engine, "do_connect", self._sign_in)
            event.listen(engine.sync_engine, "checkout", self._check_signed_in)

    @classmethod
    def connect(cls, url: str) -> Store:
        """A store on this database; nothing is opened yet. Raises ConfigError for a URL that cannot be used."""
        return cls(_engine(url))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Change]:
        """One consistent view; nothing is written."""
        async with self._transaction(self._read) as tx:
            yield tx

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Change]:
        """A transaction that is committed at the end, rolled back on any error; SQLite has one at a time."""
        async with self._writing, self._transaction(self._write) as tx:
            yield tx
            if tx.revoked:
                await self._revoke(tx)
        if tx.revoked:
            await self._tell(REVOCATIONS)

    @asynccontextmanager
    async def change(self, part: str, actor: str, action: str, subject: str) -> AsyncIterator[Change]:
        """An administrative change: bumps the revision of `part`, is recorded, commits, then is told.

        `part` may be several, separated by spaces; in place of the change those are recorded that are in its `single`.
        """
        async with self.write() as tx:
            tx.part, tx.actor, tx.action, tx.subject = part, actor, action, subject
            tx.revision = await self._bump(tx, *sorted(part.split()))
            yield tx
            for recorder, one in product(self.recorders, tx.single or [tx]):
                await recorder.record(one)
        for it in tx.single or [tx]:
            told = {"actor": actor, "action": it.action, "object": it.subject, "before": it.before, "after": it.after}
            audit.info("%s", msgspec.json.encode(told).decode())
        await asyncio.gather(*map(self._tell, part.split()))

    async def alone(self, tx: Transaction, name: str) -> None:
        """Wait until no other transaction of any node is alone with `name`; holds until this one ends."""
        if not self.is_sqlite:  # SQLite has one writer at a time anyway
            await tx.session.exec(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))

    async def revisions(self, tx: Transaction) -> Mapping[str, int]:
        """How often each snapshot part changed."""
        return {row.part: row.number for row in await tx.session.exec(select(RevisionRow))}

    async def check(self) -> str:
        """What is wrong with the database, empty when nothing is; for `/ready`."""
        try:
            async with self.read() as tx:
                await tx.session.exec(text("select 1"))  # type: ignore[call-overload]
        except StoreUnavailable as error:
            return error.message
        return ""

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()

    @asynccontextmanager
    async def _transaction(self, begin: str) -> AsyncIterator[Change]:
        async with _translated(), self._sessions() as session:
            await session.connection(execution_options={"toolway_begin": begin})
            yield Change(session)
            await session.commit()

    def _sign_in(self, _: Any, record: Any, __: Any, parameters: dict[str, Any]) -> None:
        """A new connection takes user and password of the address; where the database is does not change."""
        if self.address is not None:
            record.info["address"] = address = await_only(self.address())
            url = make_url(address)
            signed = {"user": url.username, "password": url.password}
            parameters.update({name: value for name, value in signed.items() if value is not None})

    def _check_signed_in(self, _: Any, record: Any, __: Any) -> None:
        """A connection of a user or password that was replaced is not used any more."""
        if self.address is not None and record.info.get("address") != await_only(self.address()):
            raise DisconnectionError("user or password of the database have changed")

    async def _revoke(self, tx: Change) -> None:
        """Record what was revoked, under a number that no earlier transaction can still get; forget old ones."""
        number = await self._bump(tx, REVOCATIONS)
        tx.session.add_all(RevocationRow(number=number, key=key) for key in dict.fromkeys(tx.revoked))
        old = col(RevocationRow.number) <= number - KEPT_REVOCATIONS
        await tx.session.exec(delete(RevocationRow).where(old))

    async def _bump(self, tx: Change, *parts: str) -> int:
        """One number for all of them, higher than each had."""
        for part in parts:
            await self.alone(tx, f"revision:{part}")
        rows = [await tx.session.get(RevisionRow, part) or RevisionRow(part=part, number=0) for part in parts]
        number = max(row.number for row in rows) + 1
        tx.session.add_all(row.sqlmodel_update({"number": number}) for row in rows)
        await tx.session.flush()
        return number

    async def _tell(self, part: str) -> None:
        """Tell the other nodes; the change is made, so a message that cannot be sent is not its failure: nodes poll."""
        try:
            if self.publish is not None:
                await self.publish(REVISIONS_CHANNEL, msgspec.json.encode({"part": part}))
        except Exception:  # of whichever plugin carries the messages
            log.exception("the change of %s is made, but other nodes will see it a second late: no message", part)


def _engine(url: str) -> AsyncEngine:
    if url.startswith("sqlite+aiosqlite://"):
        return create_async_engine(url, connect_args={"timeout": BUSY_SECONDS}, pool_size=5, max_overflow=5)
    if url.startswith("postgresql+psycopg://"):
        # Only what a transaction pooler lets through: no startup options, no prepared statements.
        arguments = {"connect_timeout": 2, "autocommit": True, "prepare_threshold": None}
        return create_async_engine(url, connect_args=arguments, pool_timeout=POOL_SECONDS, pool_pre_ping=True)
    raise ConfigError(
        f"gateway.database has the scheme {url.partition('://')[0]!r}; "
        "use sqlite+aiosqlite:///path or postgresql+psycopg://host/name"
    )


def _make_private(_: Any, __: Any, arguments: Sequence[str], ___: Any) -> None:
    """A database that is made is for its owner alone; SQLite makes the files beside it like it.

    One that exists is not opened: to close it would take away the locks that other connections of the process have.
    """
    if not arguments[0].startswith((":memory:", "file:")):
        with suppress(FileExistsError):
            os.close(os.open(arguments[0], os.O_CREAT | os.O_EXCL, 0o600))


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _let_go(connection: Any, *_: Any) -> None:
    """Of a transaction that was cancelled: SQLite closes a connection, and ends its lock, with its last cursor only."""
    with suppress(Exception):
        connection.rollback()


def _begin(connection: Connection) -> None:
    """Instead of the driver, which is told not to."""
    statement = connection.get_execution_options().get("toolway_begin", "BEGIN")
    connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise Conflict("the change contradicts another one that came first; read the object again") from error
    except (DBAPIError, PoolTimeout, OSError, SecretUnavailable) as error:
        raise StoreUnavailable("the database does not answer or is busy; nothing was changed, try again") from error
