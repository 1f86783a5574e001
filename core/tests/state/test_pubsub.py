"""The built-in publish/subscribe keeps its contract."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlmodel import select

from toolway.builtin.pubsub_database import DatabasePubSub
from toolway.builtin.pubsub_memory import MemoryPubSub
from toolway.catalog.models import MessageRow
from toolway.clock import SystemClock
from toolway.hookspecs.caching import PubSub
from toolway_testing.contracts import PubSubContract

if TYPE_CHECKING:
    from conftest import MovedClock, Nodes


class TestMemoryPubSub(PubSubContract):
    """One process."""

    @pytest.fixture
    def pubsub(self) -> PubSub:
        return MemoryPubSub()


class TestDatabasePubSub(PubSubContract):
    """Two nodes on one database."""

    @pytest.fixture
    def pubsub(self, nodes: Nodes) -> PubSub:
        return DatabasePubSub(nodes.one, SystemClock())

    @pytest.fixture
    def other_pubsub(self, nodes: Nodes) -> PubSub:  # type: ignore[override]
        return DatabasePubSub(nodes.two, SystemClock())


async def test_nothing_runs_on_when_the_last_listener_left(nodes: Nodes) -> None:
    pubsub = DatabasePubSub(nodes.one, SystemClock())

    async def listener(payload: bytes) -> None:
        pass

    before = asyncio.all_tasks()
    with pytest.raises(ZeroDivisionError):
        async with pubsub.subscribe("c", listener):
            raise ZeroDivisionError
    assert asyncio.all_tasks() == before


async def test_a_listener_may_publish_and_subscribe(nodes: Nodes) -> None:
    pubsub = DatabasePubSub(nodes.one, SystemClock())
    answered = asyncio.Event()

    async def answer(payload: bytes) -> None:
        await pubsub.publish("answers", payload)

    async def listen(payload: bytes) -> None:
        answered.set()

    async with pubsub.subscribe("questions", answer), pubsub.subscribe("answers", listen):
        await pubsub.publish("questions", b"?")
        async with asyncio.timeout(10):
            await answered.wait()


async def test_old_messages_are_removed_and_their_numbers_never_come_back(clock: MovedClock, nodes: Nodes) -> None:
    pubsub = DatabasePubSub(nodes.one, clock)
    await pubsub.publish("c", b"old")
    clock.time += 3600
    await pubsub.publish("c", b"new")
    async with nodes.one.read() as tx:
        [row] = list(await tx.session.exec(select(MessageRow)))
    assert row.payload == b"new"
    assert row.id == 2
