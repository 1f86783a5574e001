"""The local admin token: one random value, printed once, kept as a hash."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from sqlalchemy import Column, LargeBinary
from sqlmodel import Field, SQLModel, select

from toolway.hookspecs.auth import AuthContext, Authenticated, Credentials, Principal
from toolway.plugin import Clock, Database, Unauthenticated

PREFIX = "twa_"
CACHE_SECONDS = 30.0


class AdminTokenRow(SQLModel, table=True):
    """A local admin token: only its SHA-256 is kept."""

    __tablename__ = "defaults_admin_token"
    id: str = Field(primary_key=True, max_length=16)
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: float


class AdminTokenAuthenticator:
    """Bearer tokens that begin with `twa_`."""

    name = "admin-token"

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Authenticated | None:
        """The local admin; None for other credentials. Raises Unauthenticated for a token that is not known."""
        if credentials.scheme != "bearer" or not credentials.value.startswith(PREFIX):
            return None
        digest = _digest(credentials.value)
        async with self._database.read() as tx:
            rows = list(await tx.session.exec(select(AdminTokenRow)))
        for row in rows:
            if hmac.compare_digest(row.digest, digest):
                principal = Principal("admin", "service", "local admin", scopes=frozenset({"admin"}), credential=row.id)
                return Authenticated(principal, self._clock.monotonic() + CACHE_SECONDS, (f"admin-token:{row.id}",))
        raise Unauthenticated("the admin token is not known here; it was printed when the data directory was made")


async def ensure_first_token(database: Database, clock: Clock) -> str | None:
    """Make the first admin token and return it, once; None when there is one already."""
    async with database.write() as tx:
        await database.alone(tx, "first admin token")
        if (await tx.session.exec(select(AdminTokenRow))).first() is not None:
            return None
        token = PREFIX + secrets.token_urlsafe(32)
        tx.session.add(AdminTokenRow(id=secrets.token_hex(6), digest=_digest(token), created_at=clock.now()))
        return token


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
