"""Two nodes on one migrated database, once with SQLite and once with PostgreSQL."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from toolway.builtin.plugin import BuiltinPlugin
from toolway.catalog.store import Store
from toolway.migrations.run import migrate
from toolway.plugin import Settings


class MovedClock:
    """Time that only the test moves."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def monotonic(self) -> float:
        return self.time

    def now(self) -> float:
        return self.time


class Nodes(NamedTuple):
    """The stores of two nodes."""

    one: Store
    two: Store


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'toolway.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


Connect = Callable[[str], Store]


@pytest_asyncio.fixture
async def connect() -> AsyncIterator[Connect]:
    """Make stores that are closed at the end."""
    stores: list[Store] = []

    def make(url: str) -> Store:
        stores.append(Store.connect(url))
        return stores[-1]

    yield make
    for store in stores:
        await store.close()


@pytest_asyncio.fixture
async def nodes(database_url: str, connect: Connect) -> Nodes:
    """Two nodes on one migrated database."""
    nodes = Nodes(connect(database_url), connect(database_url))
    await migrate(nodes.one, list(BuiltinPlugin(Settings()).toolway_migrations()))
    return nodes


@pytest.fixture
def store(nodes: Nodes) -> Store:
    return nodes.one
