"""Two nodes on one migrated database, once with SQLite and once with PostgreSQL."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from toolway.bundled import bundled_plugins
from toolway.catalog.store import Store
from toolway.hookspecs.system import MigrationSource, toolway_migrations
from toolway.migrations.run import kernel_history as own_history, migrate
from toolway.plugin.host import Plugins
from toolway_testing.clock import MovedClock
from toolway_testing.databases import no_sqlite_threads
from toolway_testing.polling import eventually


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def kernel_history() -> list[MigrationSource]:
    """The tables of the kernel, first, and of the bundled plugins."""
    plugins = Plugins.load([], builtins=bundled_plugins())
    return [own_history(), *plugins.collect(toolway_migrations, None)]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'toolway.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest_asyncio.fixture
async def connect() -> AsyncIterator[Callable[[str], Store]]:
    """Make stores that are closed at the end."""
    stores: list[Store] = []

    def make(url: str) -> Store:
        stores.append(Store.connect(url))
        return stores[-1]

    yield make
    for store in stores:
        await store.close()
    await eventually(no_sqlite_threads)


@pytest_asyncio.fixture
async def nodes(
    database_url: str, connect: Callable[[str], Store], kernel_history: list[MigrationSource]
) -> tuple[Store, Store]:
    """The stores of two nodes on one migrated database."""
    one, two = connect(database_url), connect(database_url)
    await migrate(one, kernel_history)
    return one, two


@pytest.fixture
def store(nodes: tuple[Store, Store]) -> Store:
    return nodes[0]
