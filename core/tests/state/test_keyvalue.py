"""The built-in key-value stores keep their contract."""

import pytest
from sqlmodel import select

from toolway.bundled.stores.keyvalue_database import DatabaseKeyValue
from toolway.bundled.stores.keyvalue_memory import MOST_ENTRIES, MemoryKeyValue
from toolway.bundled.stores.models import ValueRow
from toolway.catalog.store import Store
from toolway.clock import SystemClock
from toolway.hookspecs.caching import KeyValueStore
from toolway_testing.clock import MovedClock
from toolway_testing.contracts import KeyValueContract


class TestMemoryKeyValue(KeyValueContract):
    """One process."""

    @pytest.fixture
    def keyvalue(self) -> KeyValueStore:
        return MemoryKeyValue(SystemClock())


class TestDatabaseKeyValue(KeyValueContract):
    """Two nodes on one database."""

    @pytest.fixture
    def keyvalue(self, nodes: tuple[Store, Store]) -> KeyValueStore:
        return DatabaseKeyValue(nodes[0], SystemClock())

    @pytest.fixture
    def other_keyvalue(self, nodes: tuple[Store, Store]) -> KeyValueStore:
        return DatabaseKeyValue(nodes[1], SystemClock())


async def test_the_memory_store_is_bounded(clock: MovedClock) -> None:
    keyvalue = MemoryKeyValue(clock, most=3)
    for key in "abcd":
        await keyvalue.set(key, b"")
    await keyvalue.increment("e")
    assert [key async for key in keyvalue.scan("")] == ["c", "d", "e"]
    assert MOST_ENTRIES > 3


async def test_expired_rows_are_removed_now_and_then(clock: MovedClock, nodes: tuple[Store, Store]) -> None:
    keyvalue = DatabaseKeyValue(nodes[0], clock)
    await keyvalue.set("a", b"", ttl=10)
    await keyvalue.set("b", b"")
    clock.time += 3600
    await keyvalue.set("c", b"")
    async with nodes[0].read() as tx:
        assert {row.key for row in await tx.session.exec(select(ValueRow))} == {"b", "c"}
