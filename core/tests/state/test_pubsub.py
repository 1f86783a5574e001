"""The built-in publish/subscribe keeps its contract."""

import asyncio
from collections.abc import Callable

import pytest
from sqlmodel import select

from toolway.bundled.stores.models import MessageRow
from toolway.bundled.stores.pubsub_database import DatabasePubSub
from toolway.bundled.stores.pubsub_memory import MemoryPubSub
from toolway.catalog.store import Store
from toolway.clock import SystemClock
from toolway.hookspecs.caching import PubSub
from toolway.hookspecs.system import MigrationSource
from toolway.migrations.run import migrate
from toolway_testing.clock import MovedClock
from toolway_testing.contracts import PubSubContract
from toolway_testing.polling import eventually
from toolway_testing.postgres import Postgres, execute


class TestMemoryPubSub(PubSubContract):
    """One process."""

    @pytest.fixture
    def pubsub(self) -> PubSub:
        return MemoryPubSub()


class TestDatabasePubSub(PubSubContract):
    """Two nodes on one database."""

    @pytest.fixture
    def pubsub(self, nodes: tuple[Store, Store]) -> PubSub:
        return DatabasePubSub(nodes[0], SystemClock())

    @pytest.fixture
    def other_pubsub(self, nodes: tuple[Store, Store]) -> PubSub:
        return DatabasePubSub(nodes[1], SystemClock())


async def test_nothing_runs_on_when_the_last_listener_left(nodes: tuple[Store, Store]) -> None:
    pubsub = DatabasePubSub(nodes[0], SystemClock())

    async def listener(payload: bytes) -> None:
        pass

    before = asyncio.all_tasks()
    with pytest.raises(ZeroDivisionError):
        async with pubsub.subscribe("c", listener):
            raise ZeroDivisionError
    assert asyncio.all_tasks() == before


async def test_a_listener_may_publish_and_subscribe(nodes: tuple[Store, Store]) -> None:
    pubsub = DatabasePubSub(nodes[0], SystemClock())
    answered = asyncio.Event()

    async def answer(payload: bytes) -> None:
        await pubsub.publish("answers", payload)

    async def listen(payload: bytes) -> None:
        answered.set()

    async with pubsub.subscribe("questions", answer), pubsub.subscribe("answers", listen):
        await pubsub.publish("questions", b"?")
        async with asyncio.timeout(10):
            await answered.wait()


async def test_old_messages_are_removed_and_their_numbers_never_come_back(clock: MovedClock, store: Store) -> None:
    pubsub = DatabasePubSub(store, clock)
    await pubsub.publish("c", b"old")
    clock.time += 3600
    await pubsub.publish("c", b"new")
    async with store.read() as tx:
        [row] = list(await tx.session.exec(select(MessageRow)))
    assert row.payload == b"new"
    assert row.id == 2


@pytest.mark.server
async def test_messages_flow_again_after_postgres_cut_every_connection(
    postgres_server: Postgres,
    postgres_url: str,
    connect: Callable[[str], Store],
    kernel_history: list[MigrationSource],
) -> None:
    sender, hearer = (DatabasePubSub(connect(postgres_url), SystemClock()) for _ in range(2))
    await migrate(connect(postgres_url), kernel_history)
    heard: list[bytes] = []

    async def listen(payload: bytes) -> None:
        heard.append(payload)

    async with hearer.subscribe("c", listen):
        await sender.publish("c", b"1")
        await eventually(lambda: heard == [b"1"])
        execute(postgres_server, "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()")
        await sender.publish("c", b"2")
        await eventually(lambda: heard == [b"1", b"2"])
