"""A gateway whose database is as it was when the gateway was new: quicker than a new one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import text

from toolway_testing.gateway import RunningGateway

STAYING = ("alembic_", "keyvalue", "lease", "message", "revision", "revocation", "sqlite_")


class Emptied:
    """Call it; what it empties are the tables that have no rows when this is made."""

    def __init__(self, gate: RunningGateway, tables: list[str]) -> None:
        self._kernel, self._tables = gate.gateway.kernel, tables

    @classmethod
    async def of(cls, gate: RunningGateway) -> Emptied:
        """Of a new gateway."""
        async with gate.gateway.kernel.database.read() as tx:
            found = [row[0] for row in await _run(tx, "select name from sqlite_master where type = 'table'")]
            names = {name for name in found if not name.startswith(STAYING)}
            return cls(gate, sorted(names - await _filled(tx, names)))

    async def __call__(self) -> None:
        """Empty it."""
        parts = " ".join(sorted({entity.part for entity in self._kernel.entities}))
        async with self._kernel.database.change(parts, "test", "test", "test") as tx:
            await _run(tx, "pragma defer_foreign_keys = on")
            for name in await _filled(tx, self._tables):
                await _run(tx, f'delete from "{name}"')
        await self._kernel.catalog.reload()


async def _filled(tx: Any, tables: Iterable[str]) -> set[str]:
    """Those that have rows."""
    asked = (f"select '{name}' where exists (select 1 from \"{name}\")" for name in tables)
    return {row[0] for row in await _run(tx, " union all ".join(asked))}


async def _run(tx: Any, statement: str) -> Any:
    return await tx.session.exec(text(statement))
