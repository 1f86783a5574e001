"""Messages between two nodes over one pub/sub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from toolway.bundled.stores.pubsub_memory import MemoryPubSub
from toolway.errors import CallLost
from toolway.gateway import relay as relaying
from toolway.gateway.relay import Relay, Reply
from toolway_testing.polling import eventually

Pair = tuple[Relay, Relay]


@pytest_asyncio.fixture
async def pair() -> AsyncIterator[Pair]:
    """Two nodes that hear each other."""
    pubsub = MemoryPubSub()
    async with AsyncExitStack() as stack:
        nodes = Relay("one", pubsub), Relay("two", pubsub)
        for node in nodes:
            await stack.enter_async_context(node.run())
        yield nodes


async def test_messages_to_a_node_arrive_in_order_and_only_there(pair: Pair) -> None:
    one, two = pair
    seen: list[tuple[str, int]] = []

    def note(node: str) -> Any:
        async def handler(body: dict[str, Any]) -> None:
            seen.append((node, body["number"]))

        return handler

    one.on("note", note("one"))
    two.on("note", note("two"))
    for number in range(20):
        one.send("two", "note", number=number)

    await eventually(lambda: len(seen) == 20)
    assert seen == [("two", number) for number in range(20)]


async def test_a_message_larger_than_pubsub_carries_arrives_whole(pair: Pair) -> None:
    one, two = pair
    seen: list[bytes] = []

    async def handler(body: dict[str, Any]) -> None:
        seen.append(body["message"])

    two.on("answer", handler)
    large = bytes(range(256)) * 10_000

    one.send("two", "answer", message=large)

    assert (await eventually(lambda: seen))[0] == large


async def test_a_relayed_stream_brings_its_pieces_and_ends(pair: Pair) -> None:
    one, two = pair

    async def count(body: dict[str, Any], reply: Reply) -> None:
        for number in range(body["to"]):
            await reply(b"%d" % number)

    two.on_stream("count", count)

    assert [piece async for piece in one.stream("two", "count", to=3) if piece] == [b"0", b"1", b"2"]


async def test_a_stream_of_a_node_that_is_gone_is_lost(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaying, "ACKNOWLEDGE_SECONDS", 0.05)

    with pytest.raises(CallLost, match="node three"):
        await anext(pair[0].stream("three", "count"))


async def test_a_stream_whose_node_falls_silent_is_lost(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaying, "SILENCE_SECONDS", 0.05)
    one, two = pair

    async def silence(body: dict[str, Any], reply: Reply) -> None:
        await eventually(lambda: False, timeout=30.0)

    two.on_stream("silence", silence)

    with pytest.raises(CallLost):
        async for _ in one.stream("two", "silence"):
            pass
    await eventually(lambda: not two._serving)


async def test_a_handler_that_fails_affects_nobody_else(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    one, two = pair
    seen: list[str] = []

    async def fail(body: dict[str, Any]) -> None:
        raise RuntimeError("broken")

    async def note(body: dict[str, Any]) -> None:
        seen.append("noted")

    two.on("fail", fail)
    two.on("note", note)
    one.tell_all("fail")
    one.tell_all("note")

    await eventually(lambda: seen)
    assert "relayed fail from node one failed" in caplog.text
