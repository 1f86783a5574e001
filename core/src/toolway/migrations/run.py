"""Brings the database up to date: one history per package; Alembic is imported only when one is due."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from sqlalchemy import Connection, inspect, text
from sqlmodel import SQLModel

from toolway.catalog.store import Store
from toolway.errors import ConfigError
from toolway.hookspecs.system import MigrationSource

_REVISION = re.compile(r"^(\d{4})_\w+\.py$")


def kernel_history() -> MigrationSource:
    """The kernel's own tables."""
    return MigrationSource("toolway", "toolway:migrations", SQLModel.metadata)


async def migrate(store: Store, sources: Sequence[MigrationSource]) -> None:
    """Upgrade every package that is behind, in order, one node at a time.

    Raises:
        ConfigError: the database is newer than the installed package, or a step failed; then nothing was changed.
        StoreUnavailable: the database does not answer.
    """
    if not await pending(store, sources):
        return
    async with store.write() as tx:
        connection = await tx.session.connection()
        if not store.is_sqlite:  # waiting for another node, or a large table, may take long
            await connection.execute(text("set local statement_timeout = 0"))
        await store.alone(tx, "migrations")
        for source in sources:
            if await connection.run_sync(_is_due, source):
                await connection.run_sync(_upgrade, source)


async def pending(store: Store, sources: Sequence[MigrationSource]) -> list[str]:
    """The packages that are behind. Raises as `migrate` does; nothing is changed."""
    async with store.read() as tx:
        connection = await tx.session.connection()
        return [source.name for source in sources if await connection.run_sync(_is_due, source)]


def newest_revision(source: MigrationSource) -> str:
    """The newest revision on disk: the number that file names begin with."""
    found = [match[1] for entry in _versions(source).iterdir() if (match := _REVISION.match(entry.name))]
    return max(found)


def _versions(source: MigrationSource) -> Traversable:
    package, _, directory = source.location.partition(":")
    return resources.files(package) / directory / "versions"


def _is_due(connection: Connection, source: MigrationSource) -> bool:
    current, newest = _current(connection, source), newest_revision(source)
    if current is not None and current > newest:
        raise ConfigError(
            f"the database has revision {current} of {source.name!r}, installed is {newest}; upgrade the package"
        )
    return current != newest


def version_table(source: MigrationSource) -> str:
    """The table that remembers the revision of this package."""
    return f"alembic_version_{source.name.replace('-', '_')}"


def _current(connection: Connection, source: MigrationSource) -> str | None:
    table = version_table(source)
    if not inspect(connection).has_table(table):
        return None
    row = connection.execute(text(f"select version_num from {table}")).first()  # noqa: S608 - a name of ours
    return str(row[0]) if row is not None else None


def _upgrade(connection: Connection, source: MigrationSource) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    versions = str(_versions(source))
    script = ScriptDirectory(str(_versions(source).joinpath("..")), version_locations=[versions])

    def steps(revision: Any, _: Any) -> Any:
        return script._upgrade_revs("head", revision)

    with EnvironmentContext(Config(), script, fn=steps) as environment:
        environment.configure(
            connection=connection,
            target_metadata=source.metadata,
            version_table=version_table(source),
            render_as_batch=True,
        )
        try:
            environment.run_migrations()
        except Exception as error:
            cause = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            raise ConfigError(
                f"the database could not be brought to revision {newest_revision(source)} of {source.name!r}, "
                f"nothing was changed: {cause}"
            ) from error
