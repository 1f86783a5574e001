"""Connections in the database: the sealed tokens of each principal for each upstream."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, cast

import msgspec
from sqlalchemy import ColumnElement, and_, delete, or_, update
from sqlmodel import col, select

from toolway.hookspecs.routing import Upstream
from toolway.plugin import Kernel
from toolway_user_oauth.errors import ServerUnusable
from toolway_user_oauth.grants import Tokens
from toolway_user_oauth.models import ConnectionRow, IssuerRow
from toolway_user_oauth.settings import UserOAuth

PART = "user-oauth"
"""The part of the snapshot that moves when a connection is made or ended."""


class Connection(msgspec.Struct, frozen=True):
    """A connection and its tokens, opened."""

    principal: str
    upstream: str
    tokens: Tokens
    connected_at: float
    revision: int


class Connections:
    """Reads and changes rows. What is sealed opens for its principal, its issuer and its upstream as declared only."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def find(self, principal: str, upstream: Upstream) -> Connection | None:
        """The connection, if it was made with the upstream as it is declared now; raises StoreUnavailable."""
        async with self._kernel.database.read() as tx:
            row = await tx.session.get(ConnectionRow, (principal, upstream.name))
        auth = cast(UserOAuth, upstream.auth)
        if row is None or (auth.issuer and row.issuer.rstrip("/") != auth.issuer.rstrip("/")):
            return None
        opened = self._kernel.seal.open(_purpose(principal, upstream, row.issuer), row.sealed)
        if opened is None:
            return None
        tokens = msgspec.json.decode(opened, type=Tokens)
        return Connection(principal, upstream.name, tokens, row.connected_at, row.revision)

    async def put(self, principal: str, upstream: Upstream, tokens: Tokens) -> None:
        """Make or replace it: the person has consented."""
        action = "connections.connect", _subject(principal, upstream.name)
        async with self._kernel.database.change(PART, principal, *action) as tx:
            row = await tx.session.get(ConnectionRow, (principal, upstream.name))
            tx.before, tx.after = _told(row), {"issuer": tokens.server.issuer, "scopes": list(tokens.scopes)}
            if row is not None:
                await tx.session.delete(row)
                await tx.session.flush()
            now, revision = self._kernel.clock.now(), row.revision + 1 if row is not None else 1
            values = self._values(principal, upstream, tokens, now)
            made: dict[str, Any] = {"principal": principal, "upstream": upstream.name, "issuer": tokens.server.issuer}
            tx.session.add(ConnectionRow(**made, **values, connected_at=now, revision=revision))

    async def renew(self, old: Connection, upstream: Upstream, tokens: Tokens) -> bool:
        """Keep refreshed tokens; False when the connection was ended or made anew meanwhile."""
        values = self._values(old.principal, upstream, tokens, self._kernel.clock.now())
        async with self._kernel.database.write() as tx:
            changed = update(ConnectionRow).where(_is(old)).values(**values, revision=old.revision + 1)
            return bool((await tx.session.exec(changed)).rowcount)

    async def drop(self, old: Connection) -> None:
        """The tokens are of no use any more, unless others came meanwhile."""
        subject = _subject(old.principal, old.upstream)
        async with self._kernel.database.change(PART, "gateway", "connections.drop", subject) as tx:
            tx.before = {"issuer": old.tokens.server.issuer, "scopes": list(old.tokens.scopes)}
            await tx.session.exec(delete(ConnectionRow).where(_is(old)))

    async def end(self, principal: str, upstream: str, actor: str) -> bool:
        """Forget the tokens; False when there are none."""
        subject = _subject(principal, upstream)
        async with self._kernel.database.change(PART, actor, "connections.revoke", subject) as tx:
            row = await tx.session.get(ConnectionRow, (principal, upstream))
            tx.before = _told(row)
            if row is not None:
                await tx.session.delete(row)
            return row is not None

    async def row(self, principal: str, upstream: str) -> ConnectionRow | None:
        """What is known without opening it."""
        async with self._kernel.database.read() as tx:
            found: ConnectionRow | None = await tx.session.get(ConnectionRow, (principal, upstream))
            return found

    async def after(self, upstream: str, of: str, principal: str, count: int) -> Sequence[ConnectionRow]:
        """The next rows by upstream and principal `of`, all of them or those of one `principal`."""
        here = col(ConnectionRow.upstream), col(ConnectionRow.principal)
        next_ones = or_(here[0] > upstream, and_(here[0] == upstream, here[1] > of))
        wanted = select(ConnectionRow).where(next_ones).order_by(*here).limit(count)
        if principal:
            wanted = wanted.where(here[1] == principal)
        async with self._kernel.database.read() as tx:
            return list(await tx.session.exec(wanted))

    async def pin(self, upstream: Upstream, issuer: str) -> None:
        """Remember the server that the upstream named first: the client's secret goes to no other one.

        Raises:
            ServerUnusable: the upstream named another one before.
        """
        declared = _declared(upstream)
        async with self._kernel.database.write() as tx:
            await self._kernel.database.alone(tx, f"user-oauth:{upstream.name}")
            row = await tx.session.get(IssuerRow, upstream.name)
            if row is not None and row.declared == declared and row.issuer != issuer:
                raise ServerUnusable(
                    f"upstream {upstream.name!r} names another authorization server than before; set auth.issuer"
                )
            if row is not None:
                row.declared, row.issuer = declared, issuer
            tx.session.add(row or IssuerRow(upstream=upstream.name, declared=declared, issuer=issuer))

    def _values(self, principal: str, upstream: Upstream, tokens: Tokens, now: float) -> dict[str, Any]:
        sealed = self._kernel.seal.seal(
            _purpose(principal, upstream, tokens.server.issuer), msgspec.json.encode(tokens)
        )
        scopes = " ".join(tokens.scopes)
        return {"scopes": scopes, "sealed": sealed, "refreshed_at": now, "expires_at": tokens.expires_at}


def _is(old: Connection) -> ColumnElement[bool]:
    """The row as it was read: neither refreshed nor made anew since."""
    row, who = ConnectionRow, (old.principal, old.upstream)
    is_its = and_(col(row.principal) == who[0], col(row.upstream) == who[1])
    return and_(is_its, col(row.revision) == old.revision, col(row.connected_at) == old.connected_at)


def _subject(principal: str, upstream: str) -> str:
    return f"connections/{upstream}/{principal}"


def _told(row: ConnectionRow | None) -> dict[str, Any] | None:
    """What the trail of changes says of it."""
    return None if row is None else {"issuer": row.issuer, "scopes": row.scopes.split()}


def _declared(upstream: Upstream) -> str:
    """What of a declaration decides where tokens may go: a digest."""
    auth = cast(UserOAuth, upstream.auth)
    parts = (auth.client_id, auth.issuer, auth.authorization_endpoint, auth.token_endpoint, auth.resource)
    endpoints = [each.id for each in upstream.endpoints]
    return hashlib.sha256(msgspec.json.encode([parts, endpoints])).hexdigest()


def _purpose(principal: str, upstream: Upstream, issuer: str) -> str:
    """What the seal is bound to."""
    return msgspec.json.encode(["user-oauth", principal, upstream.name, issuer, _declared(upstream)]).decode()
