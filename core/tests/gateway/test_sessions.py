"""Legacy sessions on one and on two nodes that share a key-value store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from toolway.bundled.stores.keyvalue_memory import MemoryKeyValue
from toolway.bundled.stores.pubsub_memory import MemoryPubSub
from toolway.errors import ClientCannot
from toolway.gateway.relay import Relay
from toolway.gateway.sessions import IDLE_SECONDS, KEPT_STREAMS, ClientSession, Record, Sessions
from toolway.gateway.streams import PENDING_BYTES, RETAIN_SECONDS
from toolway.hookspecs.auth import Principal
from toolway.keyring import KeyRing
from toolway.mcp.messages import decode
from toolway.mcp.session import SESSION_SECONDS, EventId
from toolway_testing.clock import MovedClock
from toolway_testing.polling import eventually

ALICE, BOB = Principal(id="alice"), Principal(id="bob")
VERSION = "2025-11-25"


class Nodes:
    """Two nodes of one gateway."""

    def __init__(self, keyvalue: type[MemoryKeyValue] = MemoryKeyValue) -> None:
        self.clock = MovedClock()
        self.keyvalue = keyvalue(self.clock)
        self.ring = KeyRing([(os.urandom(6), os.urandom(32))])
        pubsub = MemoryPubSub()
        self.relays = [Relay(name, pubsub) for name in ("one", "two")]
        parts = (self.ring, self.clock, self.keyvalue)
        self.one, self.two = (Sessions(r._node, *parts, r) for r in self.relays)

    async def open(self, **capabilities: Any) -> ClientSession:
        return await self.one.create(ALICE, "all", VERSION, Record(capabilities))


@pytest_asyncio.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes()
    async with AsyncExitStack() as stack:
        for relay in made.relays:
            await stack.enter_async_context(relay.run())
        yield made


async def test_a_session_is_its_principals_and_its_servers_only(nodes: Nodes) -> None:
    session = await nodes.open()

    assert await nodes.one.find(session.token, ALICE, "all") is session
    assert await nodes.one.find(session.token, BOB, "all") is None
    assert await nodes.one.find(session.token, ALICE, "support") is None
    altered = ("y" if session.token.startswith("x") else "x") + session.token[1:]
    assert await nodes.one.find(altered, ALICE, "all") is None
    assert await nodes.one.find("x" * 5000, ALICE, "all") is None


async def test_another_node_finds_the_session_until_it_ends_anywhere(nodes: Nodes) -> None:
    session = await nodes.open(roots={})
    elsewhere = await nodes.two.find(session.token, ALICE, "all")
    assert elsewhere is not None and elsewhere.client.capabilities == {"roots": {}}

    await nodes.one.end(session)

    await eventually(lambda: nodes.two.local(session.id) is None)
    assert await nodes.one.find(session.token, ALICE, "all") is None
    assert await nodes.two.find(session.token, ALICE, "all") is None


async def test_a_session_without_its_record_is_unknown_to_a_node_that_does_not_hold_it(nodes: Nodes) -> None:
    session = await nodes.open()
    await nodes.keyvalue.delete(f"session:{session.id}")

    assert await nodes.two.find(session.token, ALICE, "all") is None
    assert await nodes.one.find(session.token, ALICE, "all") is session


async def test_a_session_is_over_after_twelve_hours(nodes: Nodes) -> None:
    session = await nodes.open()

    nodes.clock.time += SESSION_SECONDS + 1

    assert await nodes.one.find(session.token, ALICE, "all") is None


async def test_an_idle_session_leaves_memory_and_comes_back_with_its_id(nodes: Nodes) -> None:
    closed: list[ClientSession] = []
    nodes.one.closers.append(closed.append)
    session = await nodes.open()

    nodes.clock.time += IDLE_SECONDS + 1
    nodes.one.sweep()

    assert closed == [session] and nodes.one.local(session.id) is None
    assert await nodes.one.find(session.token, ALICE, "all") is not None


async def test_a_stream_that_nobody_comes_back_for_is_forgotten_after_five_minutes(nodes: Nodes) -> None:
    session = await nodes.open()
    running, ended = session.open_stream(), session.open_stream()
    running.left_at = ended.left_at = nodes.clock.monotonic()
    ended.close()

    nodes.clock.time += RETAIN_SECONDS + 1
    nodes.one.sweep()

    assert list(session.streams.values()) == [running]


async def test_answers_that_are_kept_take_nothing_from_the_next_call(nodes: Nodes) -> None:
    session = await nodes.open()
    for _ in range(100):
        stream = session.open_stream()
        stream.put(b"x" * 600_000, last=True)
        stream.sent(1)
        stream.left_at = 0.0
    assert len(session.streams) <= 2 * KEPT_STREAMS
    stream = session.open_stream()
    for _ in range(3):
        stream.put(b"{}")

    assert not stream.closed
    assert session.budget.used <= PENDING_BYTES


async def test_an_event_id_is_read_by_any_node_and_only_as_it_was_written(nodes: Nodes) -> None:
    session = await nodes.open()
    seen = await nodes.two.find(session.token, ALICE, "all")
    assert seen is not None

    assert EventId.read(f"{session.place}.7.12", nodes.ring.open) == EventId("one", session.id, 7, 12)
    assert EventId.read(f"{seen.place}.0.1", nodes.ring.open) == EventId("two", session.id, 0, 1)
    for other in ("", "7.12", f"{session.place}.7", f"x{session.place}.7.12", f"{session.token}.7.12"):
        assert EventId.read(other, nodes.ring.open) is None
    for number in ("", "-1", "+1", "1_0", "\u0661", "9" * 16, "1.2"):
        assert EventId.read(f"{session.place}.7.{number}", nodes.ring.open) is None


async def test_changes_on_two_nodes_are_both_kept(nodes: Nodes) -> None:
    session = await nodes.open()
    elsewhere = await nodes.two.find(session.token, ALICE, "all")
    assert elsewhere is not None

    await nodes.one.update(session, lambda record: msgspec.structs.replace(record, uris=[*record.uris, "a:1"]))
    await nodes.two.update(elsewhere, lambda record: msgspec.structs.replace(record, uris=[*record.uris, "a:2"]))

    assert elsewhere.record.uris == ["a:1", "a:2"]
    await eventually(lambda: session.record.uris == ["a:1", "a:2"])


async def test_what_the_client_missed_follows_it_to_the_node_that_it_listens_on(nodes: Nodes) -> None:
    session = await nodes.open()
    elsewhere = await nodes.two.find(session.token, ALICE, "all")
    assert elsewhere is not None
    session.notify("notifications/message", {"level": "info"})

    await nodes.two.claim(elsewhere, None)
    elsewhere.attach(None)
    await eventually(lambda: elsewhere.general.events)
    session.notify("notifications/message", {"level": "error"})

    await eventually(lambda: len(elsewhere.general.events) == 2)
    assert not session.general.events


async def test_what_was_written_but_not_received_follows_the_client_to_another_node(nodes: Nodes) -> None:
    session = await nodes.open()
    elsewhere = await nodes.two.find(session.token, ALICE, "all")
    assert elsewhere is not None
    await nodes.one.claim(session, None)
    stream, _ = session.attach(None)
    for number in range(3):
        session.notify("notifications/message", {"number": number})
    stream.sent(3)
    received = EventId("one", session.id, 0, 1)

    await nodes.two.claim(elsewhere, received)
    elsewhere.attach(received)

    await eventually(lambda: len(elsewhere.general.events) == 2)
    numbers = [bytes(decode(message).members["number"]) for _, message in elsewhere.general.events]
    assert numbers == [b"1", b"2"]
    assert stream.closed


async def test_a_message_for_a_node_that_lost_the_stream_meanwhile_is_passed_on(nodes: Nodes) -> None:
    session = await nodes.open()
    elsewhere = await nodes.two.find(session.token, ALICE, "all")
    assert elsewhere is not None
    await nodes.two.claim(elsewhere, None)
    elsewhere.attach(None)
    await eventually(lambda: session.record.listener == "two")

    nodes.relays[1].send("one", "push", session=session.id, message=b"late")

    await eventually(lambda: [message for _, message in elsewhere.general.events] == [b"late"])


async def test_a_question_is_answered_in_the_same_session_only_and_by_way_of_any_node(nodes: Nodes) -> None:
    session, stranger = await nodes.open(), await nodes.open()
    elsewhere = await nodes.two.find(session.token, ALICE, "all")
    assert elsewhere is not None
    stream = session.open_stream()
    answers: list[bytes] = []
    asking = asyncio.create_task(_noted(session, stream, answers))
    asked = decode((await eventually(lambda: stream.events))[0][1])
    answer = msgspec.json.encode({"jsonrpc": "2.0", "id": asked.id, "result": {"roots": []}})

    nodes.one.answer(stranger, decode(answer), answer)
    assert not answers
    nodes.two.answer(elsewhere, decode(answer), answer)

    await asking
    assert answers == [b'{"roots":[]}']


async def _noted(session: ClientSession, stream: Any, answers: list[bytes]) -> None:
    answers.append(bytes(await session.ask("roots/list", msgspec.Raw(b"{}"), stream)))


async def test_without_an_open_stream_a_client_cannot_be_asked(nodes: Nodes) -> None:
    session = await nodes.open(roots={})

    with pytest.raises(ClientCannot, match="no open stream"):
        await session.ask("roots/list", msgspec.Raw(b"{}"))


class DistantKeyValue(MemoryKeyValue):
    """Takes a turn of the loop to be asked, and another one to answer."""

    async def get(self, key: str) -> bytes | None:
        await asyncio.sleep(0)
        value = await super().get(key)
        await asyncio.sleep(0)
        return value

    async def compare_and_set(self, key: str, old: bytes | None, new: bytes, ttl: float | None = None) -> bool:
        await asyncio.sleep(0)
        is_set = await super().compare_and_set(key, old, new, ttl)
        await asyncio.sleep(0)
        return is_set


async def later(turns: int) -> None:
    """So many turns of the loop."""
    for _ in range(turns):
        await asyncio.sleep(0)


@pytest.fixture
def distant() -> Nodes:
    return Nodes(DistantKeyValue)


@pytest.mark.parametrize("turns", range(8))
async def test_who_asks_while_a_session_ends_does_not_bring_it_back(distant: Nodes, turns: int) -> None:
    session = await distant.open()

    ending = asyncio.create_task(distant.one.end(session))
    await later(turns)
    await distant.one.find(session.token, ALICE, "all")
    await ending

    assert await distant.one.find(session.token, ALICE, "all") is None
    assert distant.one.count == 0


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("is_new_first", [True, False])
async def test_the_claim_of_a_new_stream_outlives_the_end_of_the_old_one(
    distant: Nodes, turns: int, is_new_first: bool
) -> None:
    session = await distant.open()
    await distant.one.claim(session, None)
    old, _ = session.attach(None)

    async def end_the_old_one() -> None:
        await later(turns if is_new_first else 0)
        if session.general is old:
            await distant.one.release(session)

    async def come_back() -> None:
        await later(0 if is_new_first else turns)
        await distant.one.claim(session, None)
        session.attach(None)

    await asyncio.gather(end_the_old_one(), come_back())

    assert session.attached
    stored = await distant.keyvalue.get(f"session:{session.id}")
    assert msgspec.msgpack.decode(stored or b"", type=Record).listener == "one"


async def test_sessions_in_use_are_not_ended_for_those_of_others(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolway.gateway.sessions.LOCAL_SESSIONS", 2)
    used = await nodes.open()
    used.attach(None)

    others = [await nodes.open() for _ in range(3)]

    assert nodes.one.local(used.id) is used
    assert [nodes.one.local(each.id) is not None for each in others] == [False, False, True]
