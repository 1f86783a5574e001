"""The API of connections: one's own are always one's own matter; those of others take permissions."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime

from pydantic import BaseModel, Field
from starlette.responses import Response

from toolway.hookspecs.api import SIGNED_IN, Incoming, Operation, Page, PageQuery, document
from toolway.hookspecs.auth import Principal, Resource
from toolway.hookspecs.catalog import UpstreamView
from toolway.hookspecs.routing import Upstream
from toolway.plugin import Definition, Forbidden, InvalidInput, Kernel, NotFound, ToolwayError
from toolway_user_oauth.connections import Connections
from toolway_user_oauth.grants import Grants
from toolway_user_oauth.models import ConnectionRow
from toolway_user_oauth.settings import UserOAuth
from toolway_user_oauth.tickets import Tickets

log = logging.getLogger(__name__)

CHUNK = 200
ITEM_ACTIONS = {
    "tool": "tools:call",
    "prompt": "prompts:get",
    "resource": "resources:read",
    "template": "resources:read",
}


class ConnectionView(BaseModel):
    """A connection, without its tokens."""

    name: str = Field(description="The upstream's name.")
    principal: str = Field(description="Whose account is connected.")
    issuer: str = Field(description="The authorization server that gave the tokens.")
    scopes: list[str] = Field(description="What they are good for.")
    connected_at: datetime = Field(description="When the person consented.")
    refreshed_at: datetime = Field(description="When the tokens were given out or refreshed.")
    expires_at: datetime | None = Field(description="When they end; they are refreshed before, where that is possible.")


class NewConnection(Definition):
    """Which account to connect."""

    upstream: str = Field(max_length=48, description="Name of the upstream.")


class ConnectLink(BaseModel):
    """Where to consent."""

    upstream: str = Field(description="Name of the upstream.")
    url: str = Field(description="To be opened in a browser, once.")
    expires_at: datetime = Field(description="When it is over.")


class RevokedConnection(BaseModel):
    """What became of a connection."""

    name: str = Field(description="The upstream's name.")
    principal: str = Field(description="Whose account it was.")
    revoked_at_issuer: bool = Field(description="Whether the authorization server revoked the tokens too (RFC 7009).")


class OfPrincipal(BaseModel, extra="forbid"):
    """Whose connection is meant."""

    principal: str = Field("", max_length=255, description="An id such as `user:alice`; by default yourself.")


class ConnectionsQuery(PageQuery):
    """Which connections."""

    principal: str = Field("", max_length=255, description="Only those of this principal, such as `user:alice`.")


class ConnectionOperations:
    """`/api/v1/connections`."""

    def __init__(self, kernel: Kernel, connections: Connections, grants: Grants, tickets: Tickets) -> None:
        self._kernel = kernel
        self._connections = connections
        self._grants = grants
        self._tickets = tickets

    def operations(self) -> Iterable[Operation]:
        """List, begin, revoke."""
        path, one = "/api/v1/connections", "/api/v1/connections/{name}"
        shown, ended = Page[ConnectionView], RevokedConnection
        begin = Operation(
            "POST", path, SIGNED_IN, self.begin, NewConnection, answer=ConnectLink, success=(201,), filters=True
        )
        return [
            Operation("GET", path, SIGNED_IN, self.list, query=ConnectionsQuery, answer=shown, filters=True),
            begin,
            Operation("DELETE", one, SIGNED_IN, self.revoke, query=OfPrincipal, answer=ended, filters=True),
        ]

    async def list(self, incoming: Incoming) -> Page[ConnectionView]:
        """List connections: one's own, and those that one may read."""
        query: ConnectionsQuery = incoming.query
        found: list[ConnectionRow] = []
        upstream, _, principal = query.cursor.partition("\n")
        while len(found) <= query.limit:
            chunk = await self._connections.after(upstream, principal, query.principal, CHUNK)
            found += [row for row in chunk if _may(incoming, "connections:read", row.upstream, row.principal)]
            if len(chunk) < CHUNK:
                break
            upstream, principal = chunk[-1].upstream, chunk[-1].principal
        shown = found[: query.limit]
        last = f"{shown[-1].upstream}\n{shown[-1].principal}" if len(found) > query.limit else None
        return Page(items=[_view(row) for row in shown], next_cursor=last)

    async def begin(self, incoming: Incoming) -> Response:
        """Get a link to connect one's own account of an upstream."""
        asked: NewConnection = incoming.body
        upstream = self._usable(incoming, asked.upstream)
        if not _may(incoming, "connections:write", upstream.name, incoming.principal.id):
            raise Forbidden("the credential does not cover connections:write", permission="connections:write")
        url, expires_at = self._tickets.issue(incoming.principal.id, upstream.name)
        return document(ConnectLink(upstream=upstream.name, url=url, expires_at=_time(expires_at)), 201)

    async def revoke(self, incoming: Incoming) -> RevokedConnection:
        """End a connection here at once, and at its authorization server where that is possible."""
        query: OfPrincipal = incoming.query
        name, principal = incoming.name, query.principal or incoming.principal.id
        may_read = _may(incoming, "connections:read", name, principal)
        may_write = _may(incoming, "connections:write", name, principal)
        row = await self._connections.row(principal, name) if may_read or may_write else None
        if row is None:
            raise NotFound(f"connections has no {name!r} of {principal}")
        if not may_write:
            raise Forbidden("permission 'connections:write' is needed here", permission="connections:write")
        view = self._kernel.catalog.snapshot.upstreams.get(name)
        upstream = view.upstream if view is not None and isinstance(view.upstream.auth, UserOAuth) else None
        found = await self._connections.find(principal, upstream) if upstream is not None else None
        await self._connections.end(principal, name, incoming.principal.id)
        await self._kernel.catalog.reload()  # this node forgets it before the answer
        is_revoked = False
        if found is not None and upstream is not None and isinstance(upstream.auth, UserOAuth):
            try:
                private = upstream.settings.allow_private
                is_revoked = await self._grants.revoke(upstream.auth, found.tokens, allow_private=private)
            except ToolwayError as error:
                log.warning("tokens for %s were forgotten, but not revoked at their issuer: %s", name, error.message)
        return RevokedConnection(name=name, principal=principal, revoked_at_issuer=is_revoked)

    def _usable(self, incoming: Incoming, name: str) -> Upstream:
        """The upstream, if the principal may use or see anything of it: what is hidden looks like what is not there."""
        view = self._kernel.catalog.snapshot.upstreams.get(name)
        is_seen = view is not None and (incoming.may("upstreams:read", name) or self._may_use(incoming.principal, view))
        if view is None or not is_seen:
            raise NotFound(f"upstreams has no {name!r}")
        if not isinstance(view.upstream.auth, UserOAuth):
            raise InvalidInput(
                f"upstream {name!r} does not want an account of its callers; there is nothing to connect"
            )
        return view.upstream

    def _may_use(self, principal: Principal, view: UpstreamView) -> bool:
        """Whether there is anything of it that the principal may use, or it lists what there is."""
        name, items = view.upstream.name, view.discovery.items if view.discovery else ()
        named = {(ITEM_ACTIONS[item.kind], item.canonical) for item in items}
        named |= {(action, f"{name}/*") for action in ITEM_ACTIONS.values()}
        return getattr(view.upstream.auth, "discover_as", "") == principal.id or any(
            self._kernel.authorized(principal, action, self._kernel.describe(action, about)) for action, about in named
        )


def _may(incoming: Incoming, action: str, name: str, principal: str) -> bool:
    """Whether it is one's own, within the limits of the credential, or a permission says so."""
    limits = incoming.principal.limits
    if principal == incoming.principal.id:
        return limits is None or limits.permit(action, name, "")
    return incoming.may(action, Resource(name, owner=principal))


def _view(row: ConnectionRow) -> ConnectionView:
    return ConnectionView(
        name=row.upstream,
        principal=row.principal,
        issuer=row.issuer,
        scopes=row.scopes.split(),
        connected_at=_time(row.connected_at),
        refreshed_at=_time(row.refreshed_at),
        expires_at=_time(row.expires_at) if row.expires_at else None,
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(round(seconds), UTC)
