"""Databases with the tables of a plugin, for tests of its parts: SQLite copied from a template, or PostgreSQL."""

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from toolway.catalog.store import Store
from toolway.hookspecs.system import MigrationSource
from toolway.migrations.run import migrate
from toolway_testing.polling import eventually


def migrated(file: Path, history: Sequence[MigrationSource]) -> Path:
    """Make a SQLite database with these tables; for a session's fixture `template`, which `sqlite_url` copies."""

    async def make() -> None:
        store = Store.connect(f"sqlite+aiosqlite:///{file}")
        await migrate(store, history)
        await store.close()

    asyncio.run(make())
    return file


@pytest.fixture
def sqlite_url(tmp_path: Path, template: Path) -> str:
    """The address of a copy of the fixture `template`."""
    shutil.copy(template, tmp_path / "toolway.db")
    return f"sqlite+aiosqlite:///{tmp_path / 'toolway.db'}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
def database_url(request: pytest.FixtureRequest) -> str:
    """The address of a database, once of each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@asynccontextmanager
async def stores(url: str, history: Sequence[MigrationSource]) -> AsyncIterator[Callable[[], Awaitable[Store]]]:
    """What connects once more to a database with these tables, as another node does; all are closed at the end."""
    opened: list[Store] = []

    async def connect() -> Store:
        opened.append(Store.connect(url))
        await migrate(opened[-1], history)
        return opened[-1]

    yield connect
    for store in opened:
        await store.close()
    await eventually(no_sqlite_threads)


def no_sqlite_threads() -> bool:
    """Whether every connection to SQLite has ended; one that failed ends by itself, and needs the loop for that."""
    return all("_connection_worker_thread" not in thread.name for thread in threading.enumerate())
