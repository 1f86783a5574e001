"""Sessions: how they begin, how they end, and that nobody writes for each request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given, settings, strategies as st
from sqlmodel import select

from toolway.bundled.accounts.definitions import User
from toolway.bundled.accounts.entities import UserEntity
from toolway.bundled.accounts.models import SessionRow
from toolway.bundled.accounts.part import AccountsPart
from toolway.bundled.accounts.sessions import (
    CACHE_SECONDS,
    MOST_SESSIONS,
    STALE_SECONDS,
    SessionAuthenticator,
    Sessions,
    end,
)
from toolway.catalog.store import Store
from toolway.errors import StoreUnavailable, Unauthenticated
from toolway.hookspecs.auth import AuthContext, Credentials
from toolway_testing.clock import MovedClock

IDLE, LIFETIME = 1800.0, 43_200.0
CONTEXT = AuthContext(None, "192.0.2.1", "/api/v1", "a browser")


class Node:
    """The sessions of one node."""

    def __init__(self, store: Store, clock: MovedClock) -> None:
        self.store, self.clock = store, clock
        self.sessions = Sessions(store, clock, IDLE, LIFETIME)

    async def open(self, scheme: str = "session") -> tuple[str, str]:
        async with self.store.write() as tx:
            row, value = await self.sessions.open(tx, "user:alice", scheme, CONTEXT)
        return row.name, value

    async def end(self, name: str) -> None:
        async with self.store.write() as tx:
            await end(tx, await tx.session.get_one(SessionRow, name))

    async def rows(self) -> list[SessionRow]:
        async with self.store.read() as tx:
            return list(await tx.session.exec(select(SessionRow)))

    async def is_good(self, value: str, scheme: str = "session") -> bool:
        try:
            await self.sessions.find(scheme, value)
        except Unauthenticated:
            return False
        return True


@pytest_asyncio.fixture
async def node(store: Store, clock: MovedClock) -> Node:
    async with store.change("accounts", "admin", "test", "test") as tx:
        await UserEntity().put(tx, User(name="alice"))
    return Node(store, clock)


async def test_a_session_is_good_for_its_scheme_only_and_its_secret_is_not_stored(node: Node) -> None:
    name, value = await node.open()
    _, token = await node.open("bearer")
    assert await node.is_good(value)
    assert await node.is_good(token, "bearer")
    assert not await node.is_good(value, "bearer")
    assert not await node.is_good(token)
    assert not await node.is_good(value[:-1])
    assert len(value) >= 47
    assert not any(
        value[4:].encode() in repr(row).encode() or value.encode() in row.digest for row in await node.rows()
    )
    await node.end(name)
    assert not await node.is_good(value)


async def test_a_session_ends_when_it_is_idle(node: Node, clock: MovedClock) -> None:
    _, value = await node.open()
    for _ in range(3):
        clock.time += IDLE - 1
        assert await node.is_good(value)
    clock.time += IDLE
    assert not await node.is_good(value)


async def test_a_session_ends_after_its_lifetime_however_busy_it_is(node: Node, clock: MovedClock) -> None:
    _, value = await node.open()
    for _ in range(int(LIFETIME // 1000)):
        clock.time += 1000
        assert await node.is_good(value)
    clock.time += 1000
    assert not await node.is_good(value)


async def test_use_is_written_down_in_one_go_and_seen_by_the_other_node(
    node: Node, nodes: tuple[Store, Store], clock: MovedClock
) -> None:
    values = [(await node.open())[1] for _ in range(3)]
    other = Node(nodes[1], clock)
    clock.time += IDLE - 100
    assert [await node.is_good(value) for value in values] == [True] * 3
    assert {row.seen_at for row in await node.rows()} == {clock.time - IDLE + 100}
    await node.sessions.save()
    assert {row.seen_at for row in await node.rows()} == {clock.time}
    await node.sessions.save()
    clock.time += 200
    assert [await other.is_good(value) for value in values] == [True] * 3


async def test_an_older_use_does_not_replace_a_newer_one(
    node: Node, nodes: tuple[Store, Store], clock: MovedClock
) -> None:
    _, value = await node.open()
    other = Node(nodes[1], clock)
    clock.time += 10
    assert await node.is_good(value)
    clock.time += 10
    assert await other.is_good(value)
    await other.sessions.save()
    await node.sessions.save()
    assert [row.seen_at for row in await node.rows()] == [clock.time]


async def test_sessions_that_are_over_are_removed(node: Node, clock: MovedClock) -> None:
    await node.open()
    clock.time += LIFETIME / 2
    name, _ = await node.open()
    await node.sessions.sweep()
    assert [row.name for row in await node.rows()] == [name]


async def test_the_oldest_session_gives_way_to_one_too_many(node: Node, clock: MovedClock) -> None:
    values = []
    for _ in range(MOST_SESSIONS + 1):
        clock.time += 1
        values.append((await node.open())[1])
    assert [await node.is_good(value) for value in values] == [False] + [True] * MOST_SESSIONS


async def test_without_the_database_a_session_that_was_read_is_good_for_an_hour_unless_it_was_revoked(
    node: Node, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = node.sessions
    first, ended, unread = await node.open(), await node.open(), await node.open()
    assert await node.is_good(first[1])
    assert await node.is_good(ended[1])
    sessions.forget(frozenset({f"session:{ended[0]}"}))
    monkeypatch.setattr(node.store, "_sessions", _broken)

    for value in (ended[1], unread[1]):
        with pytest.raises(StoreUnavailable):
            await sessions.find("session", value)
    for _ in range(4):
        assert await node.is_good(first[1])
        clock.time += STALE_SECONDS / 4
    with pytest.raises(StoreUnavailable):
        await sessions.save()
    clock.time += 1
    with pytest.raises(StoreUnavailable):
        await sessions.find("session", first[1])
    sessions.forget(frozenset({"*"}))


async def test_a_session_that_ends_while_it_is_read_is_not_good_without_the_database(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, value = await node.open()
    read = node.store.read

    @asynccontextmanager
    async def read_slowly() -> AsyncIterator[Any]:
        async with read() as tx:
            yield tx
        await node.end(name)
        node.sessions.forget(frozenset({f"session:{name}"}))

    with monkeypatch.context() as slow:
        slow.setattr(node.store, "read", read_slowly)
        await node.sessions.find("session", value)
    monkeypatch.setattr(node.store, "_sessions", _broken)

    with pytest.raises(StoreUnavailable):
        await node.sessions.find("session", value)


def _broken() -> Any:
    raise OSError("gone")


async def test_the_authenticator_knows_who_it_is_until_the_session_may_be_over(node: Node, clock: MovedClock) -> None:
    async with node.store.read() as tx:
        accounts = await AccountsPart().load(tx, {})
    kernel: Any = SimpleNamespace(accounts=accounts, clock=clock)
    authenticator = SessionAuthenticator(kernel, node.sessions)
    name, value = await node.open()

    known = await authenticator.authenticate(Credentials("session", value), CONTEXT)
    assert known is not None
    assert (known.principal.id, known.principal.credential) == ("user:alice", f"session:{name}")
    assert set(known.revoke_keys) == {"user:alice", f"session:{name}"}
    assert known.cache_until == clock.monotonic() + CACHE_SECONDS
    assert value not in repr(known)
    assert await authenticator.authenticate(Credentials("bearer", "twk_other"), CONTEXT) is None
    assert await authenticator.authenticate(Credentials("basic", value), CONTEXT) is None
    for scheme, wrong in (("session", "anything"), ("bearer", "tws_wrong")):
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(Credentials(scheme, wrong), CONTEXT)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 2 * IDLE), max_size=30), st.floats(0, LIFETIME))
def test_the_end_of_a_session_is_never_after_its_idle_or_absolute_end(pauses: list[float], seen: float) -> None:
    clock = MovedClock()
    sessions = Sessions(None, clock, IDLE, LIFETIME)  # type: ignore[arg-type]
    row = SessionRow(name="a", digest=b"", account="", created_at=0, seen_at=seen, expires_at=LIFETIME)
    latest = seen
    for pause in pauses:
        latest += pause
        sessions._seen["a"] = latest
        assert sessions.end_of(row) == min(LIFETIME, latest + IDLE)
