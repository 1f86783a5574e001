"""Sessions of users: a row for each, found by the digest of a random secret, which only the client has."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete
from sqlmodel import col, select

from toolway.bundled.accounts.models import SessionRow
from toolway.hookspecs.accounts import Accounts
from toolway.hookspecs.auth import AuthContext, Authenticated, Credentials
from toolway.hookspecs.system import Transaction
from toolway.plugin import Clock, Database, Kernel, StoreUnavailable, Unauthenticated

PREFIX = "tws_"
COOKIE, BEARER = "session", "bearer"
CACHE_SECONDS = 30.0
STALE_SECONDS = 3600.0
"""How long a session that was read is good while the database does not answer."""
MOST_SESSIONS = 50
"""Of one account; the oldest gives way."""
REMEMBERED = 10_000


class Session(msgspec.Struct, frozen=True):
    """A session as it was read, at `read_at` on the monotonic clock."""

    row: SessionRow
    read_at: float


class Sessions:
    """All sessions, and which of them this node saw at work; `idle` and `lifetime` are in seconds."""

    def __init__(self, database: Database, clock: Clock, idle: float, lifetime: float) -> None:
        self._database = database
        self._clock = clock
        self._idle, self._lifetime = idle, lifetime
        self._known: dict[bytes, Session] = {}
        self._revocations = 0
        self._seen: dict[str, float] = {}

    async def open(self, tx: Transaction, account: str, scheme: str, context: AuthContext) -> tuple[SessionRow, str]:
        """A new session, and the secret that is good for this scheme only: a cookie is no bearer token."""
        value, now = PREFIX + secrets.token_urlsafe(32), self._clock.now()
        row = SessionRow(
            name=secrets.token_hex(8),
            digest=_digest(scheme, value),
            account=account,
            created_at=now,
            seen_at=now,
            expires_at=now + self._lifetime,
            address=context.address[:64],
            client=context.client[:200],
        )
        for old in (await self.of(tx, account))[MOST_SESSIONS - 1 :]:
            await end(tx, old)
        tx.session.add(row)
        await tx.session.flush()
        return row, value

    async def of(self, tx: Transaction, account: str) -> Sequence[SessionRow]:
        """The live sessions of an account, newest first."""
        rows = select(SessionRow).where(SessionRow.account == account).order_by(col(SessionRow.created_at).desc())
        return [row for row in await tx.session.exec(rows) if self.end_of(row) > self._clock.now()]

    async def find(self, scheme: str, value: str) -> SessionRow:
        """The live session of this secret, which is at work now.

        Raises:
            Unauthenticated: there is none, or it is over.
            StoreUnavailable: it was not read lately, and cannot be read now.
        """
        digest = _digest(scheme, value)
        row = await self._read(digest)
        if row is None or self.end_of(row) <= self._clock.now():
            self._known.pop(digest, None)
            raise Unauthenticated("the session is over or not known here; sign in again")
        self._seen[row.name] = self._clock.now()
        return row

    def end_of(self, row: SessionRow) -> float:
        """When it ends unless it is used before, as Unix seconds."""
        seen = max(row.seen_at, self._seen.get(row.name, 0.0))
        return min(row.expires_at, seen + self._idle)

    def forget(self, keys: frozenset[str]) -> None:
        """Sessions with these revoke keys must be read again; `*` is in all of them."""
        self._revocations += 1  # what is being read just now is not remembered
        for digest, known in list(self._known.items()):
            if not keys.isdisjoint({"*", f"session:{known.row.name}", known.row.account}):
                del self._known[digest]

    async def save(self) -> None:
        """Write down when sessions were last used, all in one go."""
        if not self._seen:
            return
        seen, self._seen = self._seen, {}
        table: Any = SessionRow.__table__  # type: ignore[attr-defined]
        older = table.c.name == bindparam("key"), table.c.seen_at < bindparam("at")
        statement = table.update().where(*older).values(seen_at=bindparam("at"))
        try:
            async with self._database.write() as tx:
                connection = await tx.session.connection()
                await connection.execute(statement, [{"key": name, "at": at} for name, at in sorted(seen.items())])
        except StoreUnavailable:
            self._seen = seen | self._seen
            raise

    async def sweep(self) -> None:
        """Remove those that are over."""
        now = self._clock.now()
        over = (col(SessionRow.expires_at) <= now) | (col(SessionRow.seen_at) <= now - self._idle - STALE_SECONDS)
        async with self._database.write() as tx:
            await tx.session.exec(delete(SessionRow).where(over))

    async def _read(self, digest: bytes) -> SessionRow | None:
        before = self._revocations
        try:
            async with self._database.read() as tx:
                found = await tx.session.exec(select(SessionRow).where(SessionRow.digest == digest))
                row: SessionRow | None = found.first()
        except StoreUnavailable:
            known = self._known.get(digest)
            if known is None or known.read_at + STALE_SECONDS < self._clock.monotonic():
                raise
            return known.row
        if row is not None and before == self._revocations:
            self._known[digest] = Session(row, self._clock.monotonic())
            if len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]
        return row


async def end(tx: Transaction, row: SessionRow) -> None:
    """It is over, on every node."""
    await tx.session.delete(row)
    await tx.revoke(f"session:{row.name}")
    await tx.session.flush()


class SessionAuthenticator:
    """Session cookies, and bearer tokens that begin with `tws_`."""

    name = "session"

    def __init__(self, kernel: Kernel, sessions: Sessions) -> None:
        self._kernel = kernel
        self._sessions = sessions

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Authenticated | None:
        """The user; None for other credentials.

        `ends_at` stays 0: whoever is signed in acts for the account, with all its rights, and can sign in again at any
        time, so what they make may outlive the session; it ends with the account.
        """
        is_token = credentials.scheme == BEARER and credentials.value.startswith(PREFIX)
        if credentials.scheme != COOKIE and not is_token:
            return None
        row = await self._sessions.find(credentials.scheme, credentials.value)
        accounts: Accounts = self._kernel.accounts
        principal = accounts.principal(row.account, f"session:{row.name}")
        clock = self._kernel.clock
        good_for = min(CACHE_SECONDS, self._sessions.end_of(row) - clock.now())
        return Authenticated(principal, clock.monotonic() + good_for, (row.account, f"session:{row.name}"))


class RevokedSessions:
    """A part of the snapshot without a value: hears which sessions were revoked, and so must not be good any more."""

    name = "accounts-sessions"
    after: tuple[str, ...] = ("revocations",)

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def load(self, tx: Transaction, parts: Mapping[str, Any]) -> None:
        """See `SnapshotPart`."""
        self._sessions.forget(parts["revocations"].keys)


def _digest(scheme: str, value: str) -> bytes:
    return hashlib.sha256(f"{scheme} {value}".encode()).digest()
