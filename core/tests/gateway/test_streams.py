"""Messages on their way to one client: what is kept, for how long, and who is woken."""

from __future__ import annotations

import asyncio

import pytest

from toolway.gateway.streams import PENDING_BYTES, RETAIN_BYTES, Budget, EventStream

LARGE = b"x" * (RETAIN_BYTES // 2)


def test_a_resumable_stream_keeps_what_was_sent_up_to_its_bound() -> None:
    stream = EventStream(1, RETAIN_BYTES)
    for _ in range(4):
        stream.put(LARGE)
        stream.sent(stream.sequence)

    stream.put(b"last")

    assert [sequence for sequence, _ in stream.since(0)] == [4, 5]


def test_a_stream_that_cannot_be_resumed_keeps_nothing_that_was_sent() -> None:
    stream = EventStream()
    stream.put(b"one")
    stream.put(b"two")

    stream.sent(1)

    assert list(stream.events) == [(2, b"two")]


def test_a_stream_nobody_reads_keeps_the_newest_and_stays_open() -> None:
    stream = EventStream(0, RETAIN_BYTES)
    stream.lossy = True
    for number in range(100):
        stream.put(LARGE + b"%d" % number)

    assert not stream.closed
    assert [sequence for sequence, _ in stream.since(0)] == [100]


def test_a_reader_that_falls_too_far_behind_loses_the_stream() -> None:
    stream = EventStream()
    while not stream.closed:
        stream.put(LARGE)

    assert stream.overflowed
    assert stream.sequence * len(LARGE) > PENDING_BYTES


@pytest.mark.parametrize(("delivered", "first"), [(0, 1), (15, 16), (25, 22), (30, 22)])
def test_what_its_reader_has_is_dropped_down_to_the_bound_at_once(delivered: int, first: int) -> None:
    stream = EventStream(1, retain=10)
    for _ in range(30):
        stream.put(b"x")
    stream.sent(delivered)

    stream.put(b"y")

    assert [sequence for sequence, _ in stream.since(0)] == list(range(first, 32))
    assert stream.size == 32 - first


def test_one_reply_may_be_larger_than_the_bound() -> None:
    stream = EventStream()

    stream.put(b"x" * (PENDING_BYTES + 1))

    assert not stream.closed


def test_the_streams_of_a_session_share_one_bound() -> None:
    budget = Budget()
    first, second = EventStream(1, RETAIN_BYTES, budget), EventStream(2, RETAIN_BYTES, budget)
    first.put(b"x" * PENDING_BYTES)

    second.put(b"one")
    second.put(b"two")
    assert second.overflowed

    first.clear()
    second.clear()
    assert budget.used == 0


def test_a_stream_that_takes_over_goes_on_with_the_same_numbers() -> None:
    old, new = EventStream(0, RETAIN_BYTES), EventStream(0, RETAIN_BYTES)
    for message in (b"1", b"2", b"3"):
        old.put(message)
    del old.events[0]

    new.take_over(old, 1)
    new.put(b"4")

    assert new.since(1) == [(2, b"2"), (3, b"3"), (4, b"4")]
    assert old.closed


async def test_every_reader_is_woken_and_a_reader_without_news_after_its_time() -> None:
    stream = EventStream(1, RETAIN_BYTES)
    readers = [asyncio.create_task(stream.wait(0, 10.0)) for _ in range(2)]
    assert await stream.wait(0, 0.01) is False

    stream.put(b"news")

    assert await asyncio.gather(*readers) == [True, True]


async def test_a_reader_of_what_is_not_kept_any_more_waits_for_what_comes() -> None:
    stream = EventStream(1, RETAIN_BYTES)
    stream.put(b"forgotten")
    stream.clear()

    assert not await stream.wait(0, 0.01)
    reading = asyncio.ensure_future(anext(stream.messages(0)))
    await asyncio.sleep(0)
    stream.put(b"next")

    assert await reading == b"next"


async def test_there_is_no_more_to_read_of_an_ended_stream_that_was_forgotten() -> None:
    stream = EventStream(1, RETAIN_BYTES)
    stream.put(b"forgotten", last=True)
    stream.clear()

    assert [message async for message in stream.messages(0)] == []
