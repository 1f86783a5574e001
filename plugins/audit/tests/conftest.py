"""Nodes on one database, once with SQLite and once with PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from audit_node import ROOT_KEY, MakeNode, Node, history

from toolway.catalog.store import Store
from toolway.keyring import open_ring
from toolway.migrations.run import migrate
from toolway_testing.clock import MovedClock
from toolway_testing.databases import migrated, no_sqlite_threads
from toolway_testing.polling import eventually


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database, to be copied."""
    return migrated(tmp_path_factory.mktemp("template") / "toolway.db", history())


@pytest_asyncio.fixture
async def make_node(database_url: str, clock: MovedClock) -> AsyncIterator[MakeNode]:
    """Awaited with settings it adds a node."""
    stores: list[Store] = []

    async def make(**settings: Any) -> Node:
        stores.append(Store.connect(database_url))
        await migrate(stores[-1], history())
        return Node(f"node-{len(stores)}", stores[-1], await open_ring(stores[-1], ROOT_KEY, clock), clock, **settings)

    yield make
    for store in stores:
        await store.close()
    await eventually(no_sqlite_threads)


@pytest_asyncio.fixture
async def node(make_node: MakeNode) -> Node:
    return await make_node()
