"""A node of a gateway as far as the plugin sees it, on a real database; accounts and rights are the test's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from toolway.bundled import bundled_plugins
from toolway.bundled.stores.keyvalue_database import DatabaseKeyValue
from toolway.catalog.parts import Parts as SnapshotParts
from toolway.catalog.store import Store
from toolway.edge.metrics import Instruments
from toolway.hookspecs.accounts import ADMIN, Account, Accounts, Team
from toolway.hookspecs.auth import AuthContext, Authenticated, Credentials, Principal, Resource
from toolway.hookspecs.system import MigrationSource, toolway_migrations
from toolway.keyring import KeyRing
from toolway.migrations.run import kernel_history
from toolway.plugin.host import Plugins
from toolway.secrets import SecretResolver
from toolway_testing.clock import MovedClock
from toolway_tokens.models import Table
from toolway_tokens.parts import Parts
from toolway_tokens.plugin import TokensSettings
from toolway_tokens.schemas import NewToken
from toolway_tokens.token import Token

ROOT_KEY = "r" * 40
ADMIN_PRINCIPAL = Principal("admin", "service", "local admin", scopes=frozenset({ADMIN}), credential="1")
ACCOUNTS = Accounts(
    {
        each.id: each
        for each in (
            Account("user", "alice", teams={"ops": "owner"}),
            Account("user", "bob", teams={"ops": "member"}),
            Account("user", "root", admin=True),
            Account("service", "ci", owner="team:ops"),
            Account("service", "bot", owner="user:bob"),
            Account("service", "lone"),
        )
    },
    {"ops": Team("ops", members={"user:alice": "owner", "user:bob": "member"})},
)


class Node:
    """The facade that the plugin sees, over a real database; `allowed` are the rights of those who are no admins."""

    public_url = "https://gate.example"

    def __init__(self, store: Store, ring: KeyRing, clock: MovedClock, **settings: Any) -> None:
        self.database = store
        self.seal = ring
        self.clock = clock
        self.secrets = SecretResolver(clock)
        self.metrics = Instruments()
        self.keyvalue = DatabaseKeyValue(store, clock)
        self.accounts = ACCOUNTS
        self.allowed: Callable[[str, str, Resource], bool] = lambda principal, action, resource: False
        self.parts = Parts.of(self, TokensSettings(**settings))  # type: ignore[arg-type]
        self.loaded = SnapshotParts([self.parts.revoked])

    async def reload(self) -> None:
        """The parts of the snapshot, as after a change."""
        async with self.database.read() as tx:
            revisions = await self.database.revisions(tx)
            self.loaded.use(await self.loaded.load(tx, revisions), revisions)

    def authorized(self, principal: Principal, action: str, resource: Resource) -> bool:
        limits = principal.limits
        if limits is not None and not limits.permit(action, resource.name, resource.server):
            return False
        return ADMIN in principal.scopes or self.allowed(principal.id, action, resource)

    def describe(self, action: str, name: str) -> Resource:
        return Resource(name)

    async def make(self, maker: Principal | Authenticated = ADMIN_PRINCIPAL, **asked: Any) -> tuple[Token, str]:
        """A token of the catalog, with its value; made with a credential that has no end, or with this one."""
        issuer = self.parts.issuer
        who = Authenticated(maker) if isinstance(maker, Principal) else maker
        return await issuer.make(await issuer.maker(who), NewToken(**asked))

    async def ask(self, value: str, server: str | None = "s") -> Authenticated | None:
        """Who presents it."""
        context = AuthContext(server, "192.0.2.1", "/mcp", "client/1")
        return await self.parts.authenticator.authenticate(Credentials("bearer", value), context)

    async def maker_with(self, value: str) -> Authenticated:
        """Whoever presents it."""
        found = await self.ask(value)
        assert found is not None
        return found


MakeNode = Callable[..., Awaitable[Node]]


def history() -> list[MigrationSource]:
    plugins = Plugins.load([], builtins=bundled_plugins())
    ours = MigrationSource("tokens", "toolway_tokens:migrations", Table.metadata)
    return [kernel_history(), *plugins.collect(toolway_migrations, None), ours]
