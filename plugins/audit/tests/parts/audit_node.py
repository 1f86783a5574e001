"""A node of a gateway as far as the plugin sees it, on a real database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import text

from toolway.bundled import bundled_plugins
from toolway.bundled.stores.keyvalue_database import DatabaseKeyValue
from toolway.catalog.store import Store
from toolway.edge.metrics import Instruments
from toolway.hookspecs.system import MigrationSource, toolway_migrations
from toolway.keyring import KeyRing
from toolway.migrations.run import kernel_history
from toolway.plugin.host import Plugins
from toolway.redaction import Redaction
from toolway.secrets import SecretResolver
from toolway_audit.models import Table
from toolway_audit.parts import Parts
from toolway_audit.plugin import AuditSettings
from toolway_audit.writing import Event
from toolway_testing.clock import MovedClock

ROOT_KEY = "r" * 40


class Node:
    """The facade that the plugin sees, over a real database, and the plugin on it."""

    def __init__(self, name: str, store: Store, ring: KeyRing, clock: MovedClock, **settings: Any) -> None:
        self.node = name
        self.database = store
        self.seal = ring
        self.clock = clock
        self.secrets = SecretResolver(clock)
        self.redact = Redaction(self.secrets.known)
        self.keyvalue = DatabaseKeyValue(store, clock)
        self.metrics = Instruments()
        self.parts = Parts.of(self, AuditSettings(**settings))  # type: ignore[arg-type]
        store.recorders = [self.parts.recorder]

    async def change(self, action: str = "upstreams.update", subject: str = "upstreams/billing", **told: Any) -> None:
        """An administrative change."""
        async with self.database.change("catalog", "user:alice", action, subject) as tx:
            tx.before, tx.after = told.get("before"), told.get("after")

    async def changes(self, count: int) -> None:
        """As many, one second apart."""
        for number in range(count):
            self.clock.time += 1
            await self.change(subject=f"upstreams/u{number}", after={"number": number})

    def happen(self, action: str = "tools/call", **members: Any) -> None:
        """Something that is written down later."""
        given = {"object": "billing/pay", "outcome": "ok", "actor": "user:bob", **members}
        self.parts.buffer.add(Event(self.clock.now(), action, **given))

    async def sql(self, statement: str, **values: Any) -> list[Any]:
        """As somebody with access to the database would."""
        async with self.database.write() as tx:
            connection = await tx.session.connection()
            result = await connection.execute(text(statement), values)
            return list(result.all()) if result.returns_rows else []

    async def problems(self) -> list[str]:
        """What `verify` finds, over all pages."""
        verdict = await self.parts.verifier.verify()
        found = [each.what for each in verdict.problems]
        while verdict.next_at is not None:
            verdict = await self.parts.verifier.verify(verdict.next_at)
            found += [each.what for each in verdict.problems]
        return found

    async def actions(self) -> list[str]:
        """Of all records, oldest first."""
        return [row[0] for row in await self.sql("select action from audit_record order by seq")]


MakeNode = Callable[..., Awaitable[Node]]


def history() -> list[MigrationSource]:
    plugins = Plugins.load([], builtins=bundled_plugins())
    ours = MigrationSource("audit", "toolway_audit:migrations", Table.metadata)
    return [kernel_history(), *plugins.collect(toolway_migrations, None), ours]
