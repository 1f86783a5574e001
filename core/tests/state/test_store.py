"""Transactions: what is committed, what is published, and what happens when the database is away."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text
from sqlmodel import select

from toolway.bundled.registry.models import UpstreamRow
from toolway.catalog import store as store_module
from toolway.catalog.models import RevisionRow
from toolway.catalog.store import REVISIONS_CHANNEL, Store
from toolway.errors import ConfigError, Conflict, SecretUnavailable, StoreUnavailable
from toolway.hookspecs.system import MigrationSource
from toolway.migrations.run import kernel_history, migrate
from toolway_testing.polling import eventually
from toolway_testing.ports import free_port
from toolway_testing.postgres import Postgres, execute

Connect = Callable[[str], Store]

CUT = "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
"""Ends every other connection of the server."""


def row(name: str) -> UpstreamRow:
    return UpstreamRow(name=name, settings="{}", revision=1)


async def names(store: Store) -> list[str]:
    async with store.read() as tx:
        return sorted(row.name for row in await tx.session.exec(select(UpstreamRow)))


async def revision(store: Store, part: str) -> int:
    async with store.read() as tx:
        found = await tx.session.get(RevisionRow, part)
        return found.number if found else 0


async def test_a_change_bumps_the_revision_of_its_part_and_tells_after_the_commit(store: Store) -> None:
    told: list[tuple[str, bytes, list[str]]] = []

    async def publish(channel: str, payload: bytes) -> None:
        told.append((channel, payload, await names(store)))

    store.publish = publish
    async with store.change("catalog", "u1", "upstreams.put", "upstreams/a") as tx:
        tx.session.add(row("a"))
        assert tx.revision == 1
    assert await revision(store, "catalog") == 1
    assert await revision(store, "accounts") == 0
    assert told == [(REVISIONS_CHANNEL, msgspec.json.encode({"part": "catalog"}), ["a"])]


async def test_a_new_sqlite_database_and_what_is_beside_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    store = Store.connect(f"sqlite+aiosqlite:///{tmp_path}/new.db")
    await migrate(store, [kernel_history()])
    try:
        found = modes(tmp_path)
    finally:
        await store.close()

    assert found == {"new.db": 0o600, "new.db-wal": 0o600, "new.db-shm": 0o600}


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


async def test_a_change_that_fails_leaves_no_trace(store: Store) -> None:
    told: list[str] = []

    async def publish(channel: str, payload: bytes) -> None:
        told.append(channel)

    async def fail() -> None:
        async with store.change("catalog", "u1", "upstreams.put", "upstreams/a") as tx:
            tx.session.add(row("a"))
            await tx.session.flush()
            raise ZeroDivisionError

    store.publish = publish
    with pytest.raises(ZeroDivisionError):
        await fail()
    assert (await names(store), await revision(store, "catalog"), told) == ([], 0, [])


async def test_a_change_is_made_even_if_nobody_can_be_told(store: Store) -> None:
    async def publish(channel: str, payload: bytes) -> None:
        raise ConnectionError("away")

    store.publish = publish
    async with store.change("catalog", "u1", "upstreams.put", "upstreams/a") as tx:
        tx.session.add(row("a"))
    assert await names(store) == ["a"]


async def test_changes_of_two_nodes_at_once_are_all_counted(nodes: tuple[Store, Store]) -> None:
    async def change(number: int) -> None:
        async with nodes[number % 2].change("catalog", "u1", "put", str(number)) as tx:
            tx.session.add(row(f"u{number}"))

    await asyncio.gather(*map(change, range(20)))
    assert await revision(nodes[0], "catalog") == 20
    assert len(await names(nodes[1])) == 20


async def test_a_read_sees_one_moment(nodes: tuple[Store, Store]) -> None:
    async with nodes[0].read() as tx:
        before = (await tx.session.exec(select(UpstreamRow.name))).all()
        async with nodes[1].write() as other:
            other.session.add(row("a"))
        after = (await tx.session.exec(select(UpstreamRow.name))).all()
    assert (before, after) == ([], [])
    assert await names(nodes[0]) == ["a"]


async def test_making_the_same_object_twice_at_once_is_a_conflict(nodes: tuple[Store, Store]) -> None:
    async def make(store: Store) -> None:
        async with store.write() as tx:
            tx.session.add(row("a"))

    outcomes = await asyncio.gather(*map(make, nodes), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome] == [Conflict]


async def test_a_cancelled_write_changes_nothing_and_blocks_nobody(store: Store) -> None:
    entered = asyncio.Event()

    async def write_for_ever() -> None:
        async with store.write() as tx:
            tx.session.add(row("a"))
            await tx.session.flush()
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write_for_ever())
    await entered.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with store.write() as tx:
        tx.session.add(row("b"))
    assert await names(store) == ["b"]


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_write_that_is_cancelled_at_any_moment_leaves_no_lock(store: Store) -> None:
    async def write() -> None:
        async with store.write() as tx:
            tx.session.add(RevisionRow(part="any", number=1))
            await tx.session.flush()
            await tx.session.exec(select(RevisionRow))
            await tx.session.rollback()

    for number in range(40):
        writing = [asyncio.create_task(write()) for _ in range(3)]
        for _ in range(number):
            await asyncio.sleep(0)
        for task in writing:
            task.cancel()
        await asyncio.gather(*writing, return_exceptions=True)

        async with asyncio.timeout(2):
            await write()


async def test_sqlite_runs_in_wal_mode_with_foreign_keys(tmp_path: Path, connect: Connect) -> None:
    store = connect(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
    async with store.read() as tx:
        connection = await tx.session.connection()
        assert (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar() == "wal"
        assert (await connection.exec_driver_sql("PRAGMA foreign_keys")).scalar() == 1


async def test_a_locked_sqlite_database_is_unavailable_until_it_is_free(
    tmp_path: Path, connect: Connect, kernel_history: list[MigrationSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "BUSY_SECONDS", 0.1)
    store = connect(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
    await migrate(store, kernel_history)
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="nothing was changed"):
        async with store.write() as tx:
            tx.session.add(row("a"))
    assert await names(store) == []
    other.close()
    async with store.write() as tx:
        tx.session.add(row("a"))
    assert await store.check() == ""


async def test_a_database_that_cannot_be_opened_is_unavailable(tmp_path: Path, connect: Connect) -> None:
    for url in (f"sqlite+aiosqlite:///{tmp_path}/none/a.db", f"postgresql+psycopg://x@127.0.0.1:{free_port()}/x"):
        assert "does not answer" in await connect(url).check()


def test_an_unknown_kind_of_database_is_refused_without_showing_the_address() -> None:
    with pytest.raises(ConfigError, match="scheme 'mysql'") as caught:
        Store.connect("mysql://user:hunter2@db/x")
    assert "hunter2" not in caught.value.message


@pytest.mark.server
async def test_connections_follow_the_user_of_the_address(
    postgres_server: Postgres, postgres_url: str, connect: Connect
) -> None:
    for name in ("first_user", "second_user"):
        execute(postgres_server, f"create role {name} login")
    addresses = [postgres_url.replace("toolway@", f"{name}@") for name in ("first_user", "second_user")]
    store, current = connect(addresses[0]), addresses[0]

    async def address() -> str:
        return current

    store.address = address
    assert await users(store) == {"first_user"}

    current = addresses[1]

    assert await users(store) == {"second_user"}
    assert await users(store) == {"second_user"}


async def users(store: Store) -> set[str]:
    """Who several connections at once are."""

    async def one() -> str:
        async with store.read() as tx:
            return str((await tx.session.exec(text("select current_user, pg_sleep(0.05)"))).one()[0])  # type: ignore[call-overload]

    return set(await asyncio.gather(*(one() for _ in range(3))))


@pytest.mark.server
async def test_without_the_secret_of_the_address_the_database_is_unavailable(
    postgres_url: str, connect: Connect
) -> None:
    store = connect(postgres_url)

    async def address() -> str:
        raise SecretUnavailable("vault:database/creds/app#url is not available")

    store.address = address

    assert "does not answer" in await store.check()


@pytest.mark.server
async def test_lost_connections_to_postgres_are_replaced(
    postgres_server: Postgres, postgres_url: str, connect: Connect, kernel_history: list[MigrationSource]
) -> None:
    store = connect(postgres_url)
    await migrate(store, kernel_history)
    execute(postgres_server, CUT)
    async with store.write() as tx:
        tx.session.add(row("a"))
    assert await names(store) == ["a"]


@pytest.mark.server
async def test_a_connection_lost_in_the_middle_changes_nothing(
    postgres_server: Postgres, postgres_url: str, connect: Connect, kernel_history: list[MigrationSource]
) -> None:
    store = connect(postgres_url)
    await migrate(store, kernel_history)

    async def write() -> None:
        async with store.write() as tx:
            tx.session.add(row("a"))
            await tx.session.flush()
            execute(postgres_server, CUT)

    with pytest.raises(StoreUnavailable):
        await write()
    await eventually(lambda: _is_well(store))
    assert await names(store) == []


@pytest.mark.server
async def test_a_statement_that_takes_too_long_is_ended(
    postgres_url: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "STATEMENT_MS", 50)
    store = connect(postgres_url)
    with pytest.raises(StoreUnavailable):
        async with store.read() as tx:
            await (await tx.session.connection()).execute(text("select pg_sleep(60)"))


@pytest.mark.server
async def test_nothing_stays_on_a_connection_that_a_pooler_may_give_to_others(
    postgres_url: str, connect: Connect
) -> None:
    store = connect(postgres_url)
    for _ in range(10):  # a driver that prepares statements does so at the fifth time
        async with store.read() as tx:
            connection = await tx.session.connection()
            assert (await connection.execute(text("select current_setting('statement_timeout')"))).scalar() == "5s"
    async with store.engine.connect() as connection:
        assert (await connection.execute(text("select current_setting('statement_timeout')"))).scalar() == "0"
        assert (await connection.execute(text("select count(*) from pg_prepared_statements"))).scalar() == 0


@pytest.mark.server
async def test_waiting_for_a_connection_has_an_end(
    postgres_url: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "POOL_SECONDS", 0.05)
    store = connect(postgres_url)
    outcomes = await asyncio.gather(*(_hold(store, 0.3) for _ in range(20)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes if outcome} == {StoreUnavailable}
    assert await _is_well(store)


async def _hold(store: Store, seconds: float) -> None:
    async with store.read() as tx:
        await (await tx.session.connection()).execute(text(f"select pg_sleep({seconds})"))


async def _is_well(store: Store) -> bool:
    return await store.check() == ""
