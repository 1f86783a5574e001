"""Nodes on one database, once with SQLite and once with PostgreSQL."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from key_node import MakeNode, Node, history

from toolway.catalog.store import Store
from toolway.migrations.run import migrate
from toolway_testing.clock import MovedClock
from toolway_testing.polling import eventually


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database, to be copied."""
    file = tmp_path_factory.mktemp("template") / "toolway.db"

    async def make() -> None:
        store = Store.connect(f"sqlite+aiosqlite:///{file}")
        await migrate(store, history())
        await store.close()

    asyncio.run(make())
    return file


@pytest.fixture
def sqlite_url(tmp_path: Path, template: Path) -> str:
    shutil.copy(template, tmp_path / "toolway.db")
    return f"sqlite+aiosqlite:///{tmp_path / 'toolway.db'}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
def database_url(request: pytest.FixtureRequest) -> str:
    """The address of a database."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest_asyncio.fixture
async def make_node(database_url: str, clock: MovedClock) -> AsyncIterator[MakeNode]:
    """Awaited with settings it adds a node."""
    stores: list[Store] = []

    async def make(**settings: Any) -> Node:
        stores.append(Store.connect(database_url))
        await migrate(stores[-1], history())
        node = Node(stores[-1], clock, **settings)
        await node.reload()
        return node

    yield make
    for store in stores:
        await store.close()
    await eventually(_no_sqlite_threads)


def _no_sqlite_threads() -> bool:
    return all("_connection_worker_thread" not in thread.name for thread in threading.enumerate())


@pytest_asyncio.fixture
async def node(make_node: MakeNode) -> Node:
    return await make_node()
