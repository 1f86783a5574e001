"""When what is sent goes out, and in which order."""

from __future__ import annotations

import asyncio
import logging

import pytest

from toolway.edge.outbox import BUSY, MANY, MOST, Outbox, outbox


class Transport(asyncio.WriteTransport):
    """Tells in a list what was written."""

    def __init__(self, name: str, written: list[tuple[str, bytes]]) -> None:
        super().__init__()
        self._name, self._written, self.is_closed = name, written, False

    def is_closing(self) -> bool:
        return self.is_closed

    def write(self, data: bytes) -> None:  # type: ignore[override]
        if self._name == "broken":
            raise RuntimeError("it is broken")
        self._written.append((self._name, data))


@pytest.fixture
def written() -> list[tuple[str, bytes]]:
    return []


async def crowded() -> Outbox:
    made = Outbox(asyncio.get_running_loop())
    made.in_flight = MANY
    return made


async def test_while_few_requests_are_in_flight_nothing_waits(written: list[tuple[str, bytes]]) -> None:
    box = await crowded()
    box.in_flight -= 1

    box.put(Transport("a", written), b"1")

    assert written == [("a", b"1")]


async def test_the_writes_of_a_turn_go_out_together_in_their_order(written: list[tuple[str, bytes]]) -> None:
    box, a, b = await crowded(), Transport("a", written), Transport("b", written)

    turns = [box.put(a, b"1"), box.put(b, b"2"), box.put(a, b"3")]
    assert written == []
    assert turns == [box.turn] * 3
    await asyncio.sleep(0)

    assert written == [("a", b"1"), ("b", b"2"), ("a", b"3")]
    assert box.turn not in turns


@pytest.mark.parametrize(("before", "turns"), [(BUSY[0] - 1, 1), (BUSY[0], 2), (BUSY[1], 3), (BUSY[1] * 9, 3)])
async def test_after_many_at_once_the_next_ones_wait_for_more_turns(
    written: list[tuple[str, bytes]], before: int, turns: int
) -> None:
    box, a = await crowded(), Transport("a", written)
    for _ in range(before):
        box.put(a, b"before")
    await asyncio.sleep(0)
    written.clear()

    box.put(a, b"1")
    for _ in range(turns):
        assert written == []
        box.put(a, b"2")
        await asyncio.sleep(0)

    assert written == [("a", b"1"), *[("a", b"2")] * turns]


async def test_more_than_may_wait_is_with_the_transports_at_once(written: list[tuple[str, bytes]]) -> None:
    box, a = await crowded(), Transport("a", written)

    turns = [box.put(a, b"x" * (MOST // 4)) for _ in range(5)]

    assert len(written) == 5
    assert turns[-1] == -1
    assert box.turn not in turns
    box.put(a, b"the next one")
    assert len(written) == 5


async def test_what_comes_when_others_are_gone_does_not_overtake_what_waits(written: list[tuple[str, bytes]]) -> None:
    box, a = await crowded(), Transport("a", written)

    box.put(a, b"1")
    box.in_flight = 0
    box.put(a, b"2")
    box.send()

    assert written == [("a", b"1"), ("a", b"2")]


async def test_a_transport_that_fails_or_closes_holds_up_nobody(
    written: list[tuple[str, bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    box, closed = await crowded(), Transport("closed", written)
    caplog.set_level(logging.ERROR)

    for transport in (Transport("broken", written), closed, Transport("a", written)):
        box.put(transport, b"1")
    closed.is_closed = True
    await asyncio.sleep(0)

    assert written == [("a", b"1")]
    assert "sending failed" in caplog.text


async def test_each_event_loop_has_one() -> None:
    other = asyncio.new_event_loop()

    async def theirs() -> Outbox:
        return outbox()

    found = await asyncio.to_thread(other.run_until_complete, theirs())
    other.close()

    assert outbox() is outbox()
    assert outbox() is not found
