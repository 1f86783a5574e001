"""Brings the database up to date: one history per package; Alembic is imported only when one is due."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from sqlalchemy import Connection, inspect, text

from toolway.catalog.store import Store
from toolway.errors import ConfigError
from toolway.hookspecs.system import MigrationSource

_REVISION = re.compile(r"^(\d{4})_\w+\.py$")
LOCK = 4442


async def migrate(store: Store, sources: Sequence[MigrationSource]) -> None:
    """Upgrade every package that is behind, in order, one node at a time.

    Raises:
        ConfigError: the database is newer than the installed package.
    """
    async with store.engine.connect() as connection:
        if not store.is_sqlite:
            await connection.execute(text(f"select pg_advisory_lock({LOCK})"))
            await connection.commit()
        try:
            for source in sources:
                await connection.run_sync(_bring_up, source)
                await connection.commit()
        finally:
            if not store.is_sqlite:
                await connection.execute(text(f"select pg_advisory_unlock({LOCK})"))
                await connection.commit()


def newest_revision(source: MigrationSource) -> str:
    """The newest revision on disk: the number that file names begin with."""
    found = [match[1] for entry in _versions(source).iterdir() if (match := _REVISION.match(entry.name))]
    return max(found)


def _versions(source: MigrationSource) -> Traversable:
    package, _, directory = source.location.partition(":")
    return resources.files(package) / directory / "versions"


def _bring_up(connection: Connection, source: MigrationSource) -> None:
    table, newest = f"alembic_version_{source.name.replace('-', '_')}", newest_revision(source)
    current = _current(connection, table)
    if current == newest:
        return
    if current is not None and current > newest:
        raise ConfigError(
            f"the database has revision {current} of {source.name!r}, installed is {newest}; upgrade the package"
        )
    _upgrade(connection, source, table)


def _current(connection: Connection, table: str) -> str | None:
    if not inspect(connection).has_table(table):
        return None
    row = connection.execute(text(f"select version_num from {table}")).first()  # noqa: S608 - a name of ours
    return str(row[0]) if row is not None else None


def _upgrade(connection: Connection, source: MigrationSource, table: str) -> None:
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(_versions(source).joinpath("..")), version_locations=[str(_versions(source))])

    def steps(revision: Any, _: Any) -> Any:
        return script._upgrade_revs("head", revision)

    with EnvironmentContext(_configuration(), script, fn=steps) as environment:
        environment.configure(
            connection=connection, target_metadata=source.metadata, version_table=table, render_as_batch=True
        )
        with environment.begin_transaction():
            environment.run_migrations()


def _configuration() -> Any:
    from alembic.config import Config

    return Config()
