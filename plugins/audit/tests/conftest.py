"""Nodes on one database, once with SQLite and once with PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from audit_node import ROOT_KEY, MakeNode, Node, history

from toolway.keyring import open_ring
from toolway_testing.clock import MovedClock
from toolway_testing.databases import migrated, stores


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
    numbers = count(1)
    async with stores(database_url, history()) as connect:

        async def make(**settings: Any) -> Node:
            store = await connect()
            return Node(f"node-{next(numbers)}", store, await open_ring(store, ROOT_KEY, clock), clock, **settings)

        yield make


@pytest_asyncio.fixture
async def node(make_node: MakeNode) -> Node:
    return await make_node()
