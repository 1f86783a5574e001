"""The built-in key-value stores keep their contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from toolway.builtin.keyvalue_database import DatabaseKeyValue
from toolway.builtin.keyvalue_memory import MOST_ENTRIES, MemoryKeyValue
from toolway.clock import SystemClock
from toolway.hookspecs.caching import KeyValueStore
from toolway_testing.contracts import KeyValueContract

if TYPE_CHECKING:
    from conftest import MovedClock, Nodes


class TestMemoryKeyValue(KeyValueContract):
    """One process."""

    @pytest.fixture
    def keyvalue(self) -> KeyValueStore:
        return MemoryKeyValue(SystemClock())


class TestDatabaseKeyValue(KeyValueContract):
    """Two nodes on one database."""

    @pytest.fixture
    def keyvalue(self, nodes: Nodes) -> KeyValueStore:
        return DatabaseKeyValue(nodes.one, SystemClock())

    @pytest.fixture
    def other_keyvalue(self, nodes: Nodes) -> KeyValueStore:  # type: ignore[override]
        return DatabaseKeyValue(nodes.two, SystemClock())


async def test_the_memory_store_is_bounded(clock: MovedClock) -> None:
    keyvalue = MemoryKeyValue(clock, most=3)
    for key in "abcd":
        await keyvalue.set(key, b"")
    await keyvalue.increment("e")
    assert [key async for key in keyvalue.scan("")] == ["c", "d", "e"]
    assert MOST_ENTRIES > 3


async def test_expired_rows_are_removed_now_and_then(clock: MovedClock, nodes: Nodes) -> None:
    from sqlmodel import select

    from toolway.catalog.models import ValueRow

    keyvalue = DatabaseKeyValue(nodes.one, clock)
    await keyvalue.set("a", b"", ttl=10)
    await keyvalue.set("b", b"")
    clock.time += 3600
    await keyvalue.set("c", b"")
    async with nodes.one.read() as tx:
        assert {row.key for row in await tx.session.exec(select(ValueRow))} == {"b", "c"}
