"""How long the event loop stays awake, and for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from socket import socketpair

import pytest

from toolway.edge.outbox import Outbox
from toolway.edge.vigil import AWAKE, RAREST, Vigil


class Turns:
    """An event loop whose time passes by hand."""

    def __init__(self) -> None:
        self.now, self.waiting = 0.0, list[Callable[[], None]]()
        self.vigil = Vigil(self.waiting.append, lambda: self.now)

    @property
    def is_awake(self) -> bool:
        return bool(self.waiting)

    def turn(self, seconds: float = 0.0) -> None:
        self.now += seconds
        waiting = self.waiting[:]
        self.waiting.clear()
        for each in waiting:
            each()

    def in_vain(self) -> bool:
        """Whether it stays awake for a message behind which nothing comes."""
        self.vigil.keep()
        was_awake = self.is_awake
        self.turn(AWAKE)
        assert not self.is_awake
        return was_awake


@pytest.fixture
def turns() -> Turns:
    return Turns()


def test_it_stays_awake_for_the_next_message_but_not_for_long(turns: Turns) -> None:
    turns.vigil.keep()
    for _ in range(9):
        assert turns.is_awake
        turns.turn(AWAKE / 10)
    turns.turn(AWAKE / 5)

    assert not turns.is_awake


def test_messages_that_follow_each_other_keep_it_awake_with_one_look_a_turn(turns: Turns) -> None:
    for _ in range(100):
        turns.vigil.keep()
        turns.turn(AWAKE / 2)
        assert len(turns.waiting) == 1


def test_where_nothing_follows_it_is_tried_ever_more_seldom(turns: Turns) -> None:
    tried = [number for number in range(5_000) if turns.in_vain()]

    assert tried[:6] == [0, 3, 10, 25, 56, 119]
    assert tried[-1] - tried[-2] == RAREST + 1


def test_a_message_that_came_in_time_makes_it_worth_while_again(turns: Turns) -> None:
    for _ in range(100):
        turns.in_vain()
    while not turns.is_awake:
        turns.vigil.keep()
    turns.turn(AWAKE / 2)
    turns.vigil.keep()
    turns.turn(AWAKE)

    assert [turns.in_vain() for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_messages_of_one_turn_do_not_follow_each_other(turns: Turns, size: int) -> None:
    tried = 0
    for _ in range(1_000):
        for _ in range(size):
            turns.vigil.keep()
        tried += turns.is_awake
        turns.turn(AWAKE)

    assert tried < 20


@pytest.mark.parametrize("fast", ["upstream", "client"])
def test_it_stays_awake_for_whoever_is_fast_though_the_other_is_slow(turns: Turns, fast: str) -> None:
    was_awake = 0
    for _ in range(1_000):
        turns.vigil.keep()  # the request to the upstream
        if fast == "upstream":
            was_awake += turns.is_awake
        turns.turn(AWAKE / 2 if fast == "upstream" else 9 * AWAKE)
        turns.vigil.keep()  # the answer to the client
        if fast == "client":
            was_awake += turns.is_awake
        turns.turn(AWAKE / 2 if fast == "client" else 9 * AWAKE)

    assert was_awake > 400


async def test_an_event_loop_that_waits_for_slow_answers_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    yields: list[None] = []
    monkeypatch.setattr("os.sched_yield", lambda: yields.append(None))
    box = Outbox(asyncio.get_running_loop())
    reader, writer = socketpair()
    with reader:
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=writer)
        box.put(transport, b"1")
        while box._vigil._is_kept:
            await asyncio.sleep(0)
        looked = len(yields)
        for _ in range(10):
            await asyncio.sleep(AWAKE)
        transport.close()

    assert looked
    assert len(yields) == looked
