"""A node of a gateway as far as the plugin sees it, on a real database; accounts, servers and rights are the test's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from itertools import count
from types import SimpleNamespace
from typing import Any

from starlette.requests import Request

from toolway.bundled import bundled_plugins
from toolway.bundled.stores.keyvalue_database import DatabaseKeyValue
from toolway.catalog.parts import Parts as SnapshotParts
from toolway.catalog.store import Store
from toolway.edge.metrics import Instruments
from toolway.gateway.access import Access
from toolway.hookspecs.accounts import ADMIN, Account, Accounts, Team
from toolway.hookspecs.api import Incoming
from toolway.hookspecs.auth import AuthContext, Authenticated, Decision, Principal, Resource, Visit
from toolway.hookspecs.system import MigrationSource, toolway_migrations
from toolway.migrations.run import kernel_history
from toolway.plugin import Unauthenticated
from toolway.plugin.host import Plugins
from toolway_server_keys.key import Key
from toolway_server_keys.models import Table
from toolway_server_keys.parts import Parts
from toolway_server_keys.plugin import ServerKeysSettings
from toolway_server_keys.schemas import NewKey, Rotation
from toolway_testing.clock import MovedClock

LOCAL = Principal("admin", "service", "local admin", scopes=frozenset({ADMIN}), credential="1")
ACCOUNTS = Accounts(
    {
        each.id: each
        for each in (
            Account("user", "alice", teams={"ops": "owner"}),
            Account("user", "bob", teams={"ops": "viewer"}),
            Account("user", "root", admin=True),
            Account("service", "ci"),
        )
    },
    {"ops": Team("ops")},
)
SERVERS = {
    "billing": Resource("billing", server="billing"),
    "support": Resource("support", server="support"),
    "diary": Resource("diary", server="diary", owner="user:alice", visibility="private"),
    "runbook": Resource("runbook", server="runbook", owner="team:ops", visibility="team"),
}


class Rights:
    """One owns what is one's own or one's team's; everything else takes a grant (`user:alice tools:call`)."""

    name = "rights"
    complete = True

    def __init__(self) -> None:
        self.granted: set[str] = set()

    def decide(self, principal: Principal, action: str, resource: Resource) -> Decision:
        if ADMIN in principal.scopes:
            return Decision.ALLOW
        if not resource.is_for(principal):
            return Decision.DENY
        owned = resource.owner and resource.visibility != "public"
        return Decision.ALLOW if owned or f"{principal.id} {action}" in self.granted else Decision.ABSTAIN

    def visibility(self, principal: Principal, server: str) -> str:
        return principal.id


class Node:
    """The facade that the plugin sees, over a real database, and how the gateway asks it."""

    def __init__(self, store: Store, clock: MovedClock, **settings: Any) -> None:
        self.database = store
        self.clock = clock
        self.keyvalue = DatabaseKeyValue(store, clock)
        self.metrics = Instruments()
        self.accounts = ACCOUNTS
        self.rights = Rights()
        self.addresses = map(ip_address, count(1 << 24))
        self.catalog = SimpleNamespace(snapshot=SimpleNamespace(servers=dict(SERVERS)), reload=self.reload)
        self.parts = Parts.of(self, ServerKeysSettings(**settings))  # type: ignore[arg-type]
        self.loaded = SnapshotParts([self.parts.known, self.parts.ended])
        store.recorders = [self.parts.deleted]
        self.access = Access([self.parts.authenticator], [self.rights], clock)

    async def reload(self) -> None:
        """The parts of the snapshot, and what is revoked, as after a change."""
        async with self.database.read() as tx:
            revisions = await self.database.revisions(tx)
            values = await self.loaded.load(tx, revisions)
        self.loaded.use(values, revisions)
        self.access.revoke(values["revocations"].keys)

    def describe(self, action: str, name: str) -> Resource:
        found: Resource = self.catalog.snapshot.servers.get(name, Resource(name))
        return found if action.startswith("servers:") else Resource(name)

    def incoming(self, who: Principal | Authenticated, name: str = "", query: Any = None) -> Incoming:
        """A request to the API, with a credential that has no end or with this one."""
        verified = Authenticated(who) if isinstance(who, Principal) else who
        request = Request({"type": "http", "method": "GET", "path": "/", "headers": [], "path_params": {"name": name}})
        return Incoming(request, self.access.allowed, self.describe, verified.principal, query, who=verified)

    async def make(self, *servers: str, who: Principal | Authenticated = LOCAL, **asked: Any) -> tuple[Key, str]:
        """A key, and what clients send."""
        wanted = NewKey(servers=list(servers or ("billing",)), **asked)
        return await self.parts.maker.make(self.incoming(who), wanted)

    async def rotate(self, key: Key, who: Principal | Authenticated = LOCAL, **asked: Any) -> tuple[Key, str]:
        """The key with another secret."""
        return await self.parts.maker.rotate(self.incoming(who), key, Rotation(**asked))

    async def revoke(self, key: Key) -> None:
        """End it."""
        await self.parts.store.revoke(key, "admin")

    async def change_server(self, name: str, before: Any, after: Any) -> None:
        """As the API does; None is no server."""
        async with self.database.change("catalog", "admin", "servers.put", f"servers/{name}") as tx:
            tx.before, tx.after = before, after

    async def revoke_credential(self, *keys: str) -> None:
        """As the provider of a credential does."""
        async with self.database.write() as tx:
            await tx.revoke(*keys)

    async def ask(
        self, value: str, server: str | None = "billing", *, as_header: bool = False, address: str = "192.0.2.1"
    ) -> Authenticated:
        """Who presents it on a server, or to the API."""
        context = AuthContext(server, address, "/mcp", "client/1")
        bearer, header = (None, value.encode()) if as_header else (f"Bearer {value}".encode(), None)
        return await self.access.authenticate(Visit(bearer, header, context))

    async def is_open(self, value: str, server: str | None = "billing") -> bool:
        """Whether it is accepted there; each time from another address, where no bad one came from before."""
        try:
            await self.ask(value, server, address=str(next(self.addresses)))
        except Unauthenticated:
            return False
        return True


MakeNode = Callable[..., Awaitable[Node]]


def account(name: str, **more: Any) -> Principal:
    """The principal of an account."""
    found = ACCOUNTS.principal(name, "1")
    return Principal(found.id, found.kind, found.name, found.teams, scopes=found.scopes, credential="1", **more)


def history() -> list[MigrationSource]:
    plugins = Plugins.load([], builtins=bundled_plugins())
    ours = MigrationSource("server-keys", "toolway_server_keys:migrations", Table.metadata)
    return [kernel_history(), *plugins.collect(toolway_migrations, None), ours]
