"""What can be told of the database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text

from toolway.plugin import Database

Revisions = dict[str, str]
VERSIONS = "alembic_version_"
MANY = 100
"""Most tables that are counted."""


def file_of(database: Database) -> Path | None:
    """The file of SQLite."""
    name = database.engine.url.database
    return Path(name) if database.is_sqlite and name else None


async def revisions(database: Database) -> Revisions:
    """The revision of each history."""
    async with database.read() as tx:
        found: Revisions = await (await tx.session.connection()).run_sync(_revisions)
    return found


def _revisions(connection: Connection) -> Revisions:
    tables = [table for table in inspect(connection).get_table_names() if table.startswith(VERSIONS)]
    return {table.removeprefix(VERSIONS): _revision(connection, table) for table in tables}


def _revision(connection: Connection, table: str) -> str:
    return str(_first(connection, f"select version_num from {table}"))  # noqa: S608 - a table that is there


async def statistics(database: Database) -> dict[str, Any]:
    """Version, size, rows of each table, connections."""
    async with database.read() as tx:
        found = await (await tx.session.connection()).run_sync(_statistics)
    file = file_of(database)
    sizes = {f"{each.name}_bytes": each.stat().st_size for each in _files(file) if each.exists()} if file else {}
    return {**found, **sizes, "pool": database.engine.pool.status()}


def _statistics(connection: Connection) -> dict[str, Any]:
    is_sqlite = connection.dialect.name == "sqlite"
    version = _first(connection, "select sqlite_version()" if is_sqlite else "show server_version")
    size = "select page_count * page_size from pragma_page_count, pragma_page_size"
    tables = sorted(inspect(connection).get_table_names())
    count = _counted if is_sqlite else _estimated
    return {
        "kind": connection.dialect.name,
        "version": version,
        "bytes": _first(connection, size if is_sqlite else "select pg_database_size(current_database())"),
        "revisions": _revisions(connection),
        "rows": {table: count(connection, table) for table in tables[:MANY]},
    }


def _counted(connection: Connection, table: str) -> Any:
    return _first(connection, f'select count(*) from (select 1 from "{table}" limit 1000000)')  # noqa: S608


def _estimated(connection: Connection, table: str) -> Any:
    """Counting would read all of it."""
    return _first(connection, "select reltuples::bigint from pg_class where oid = to_regclass(:name)", name=table)


def _first(connection: Connection, statement: str, **values: Any) -> Any:
    return connection.execute(text(statement), values).scalar()


def _files(file: Path) -> list[Path]:
    return [file, file.with_name(f"{file.name}-wal")]
