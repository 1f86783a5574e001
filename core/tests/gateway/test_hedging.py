"""Two tries of one call at once, in every order of what may happen to them: one outcome, and nothing goes on."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings, strategies as st
from msgspec import Raw

from toolway.errors import UpstreamError
from toolway.gateway.attempt import AttemptPeer
from toolway.gateway.exchange import Exchange
from toolway.gateway.hedging import Try, first_answer
from toolway.gateway.streams import EventStream
from toolway.hookspecs.attempts import Attempt
from toolway.hookspecs.auth import ANONYMOUS
from toolway.hookspecs.routing import ClientProfile, Endpoint, Reply, UpstreamRequest

AT_ONCE, NEVER = 0.0, 1000.0
NOTHING: Any = None
STEPS = ["first answers", "second answers", "first fails", "second fails", "client leaves", "time passes"]
Story = list[tuple[str, int]]


class Upstream:
    """One that answers when it is told to, and needs some turns of the event loop to notice that nobody waits."""

    def __init__(self, turns: int) -> None:
        self.fate = asyncio.get_running_loop().create_future()
        self.running, self.asked, self.turns = 0, 0, turns

    async def request(self, request: UpstreamRequest) -> Reply:
        self.running += 1
        self.asked += 1
        try:
            return cast(Reply, await asyncio.shield(self.fate))
        except asyncio.CancelledError:
            for _ in range(self.turns):
                await asyncio.sleep(0)
            raise
        finally:
            self.running -= 1

    def decide(self, outcome: str) -> None:
        if not self.fate.done() and outcome == "answers":
            self.fate.set_result(Reply())
        elif not self.fate.done():
            self.fate.set_exception(UpstreamError("broken", sent=False))
            self.fate.exception()


class Race:
    """A call as the attempt loop makes it, whose tries are `begun` and `ended`."""

    def __init__(self, delay: float, turns: int, *, has_second: bool = True) -> None:
        self.upstreams = [Upstream(turns), Upstream(turns)]
        self.tries = [self._try(number) for number in (0, 1)]
        self.begun, self.ended = [self.tries[0]], list[Try]()
        self._delay, self._has_second = delay, has_second
        self.task = asyncio.ensure_future(self._run())

    def _try(self, number: int) -> Try:
        held: Any = type("Held", (), {"connection": self.upstreams[number]})
        attempt = Attempt(NOTHING, NOTHING, Endpoint(str(number)), number + 1, is_hedge=bool(number))
        return Try(attempt, held, NOTHING, 0.0)

    async def _run(self) -> Try:
        chosen = self.tries[0]
        try:
            chosen = await first_answer(chosen, self._delay, self._second, self.ended.append)
            return chosen
        finally:
            self.ended.append(chosen)

    def _second(self) -> Try | None:
        if self._has_second:
            self.begun.append(self.tries[1])
        return self.tries[1] if self._has_second else None

    async def play(self, story: Story) -> None:
        await asyncio.sleep(0)
        for step, turns in story:
            who, _, what = step.partition(" ")
            if step == "client leaves":
                self.task.cancel()
            elif who in ("first", "second"):
                self.upstreams[who == "second"].decide(what)
            for _ in range(turns):
                await asyncio.sleep(0)
        for upstream in self.upstreams:
            upstream.decide("answers")
        await asyncio.wait([self.task], timeout=5)


@given(
    story=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 6)), max_size=6),
    delay=st.sampled_from([AT_ONCE, NEVER]),
    turns=st.integers(0, 8),
    has_second=st.booleans(),
)
@settings(max_examples=600)
async def test_there_is_exactly_one_outcome_and_every_try_is_ended_once(
    story: Story, delay: float, turns: int, has_second: bool
) -> None:
    race = Race(delay, turns, has_second=has_second)

    await race.play(story)

    assert race.task.done()
    assert sorted(map(id, race.ended)) == sorted(map(id, race.begun))
    if race.task.cancelled():
        assert "client leaves" in [step for step, _ in story]
    elif (error := race.task.exception()) is not None:
        assert error is race.tries[0].attempt.error
        assert all(each.attempt.error for each in race.begun)
    else:
        assert race.task.result().attempt.reply is not None
    for _ in range(turns + 2):
        await asyncio.sleep(0)
    assert [upstream.running for upstream in race.upstreams] == [0, 0]
    assert all(upstream.asked <= 1 for upstream in race.upstreams)


@pytest.mark.parametrize(("loser", "winner"), [(0, 1), (1, 0)])
async def test_a_failure_does_not_count_while_the_other_may_answer(loser: int, winner: int) -> None:
    names = ("first", "second")
    race = Race(AT_ONCE, 0)

    await race.play([("time passes", 4), (f"{names[loser]} fails", 4), (f"{names[winner]} answers", 4)])

    assert race.task.result() is race.tries[winner]
    assert race.tries[loser].attempt.error is not None


async def test_what_may_have_been_sent_by_one_of_two_was_perhaps_sent() -> None:
    race = Race(AT_ONCE, 0)
    race.upstreams[1].fate.set_exception(UpstreamError("cut", sent=True))

    await race.play([("time passes", 4), ("first fails", 4)])

    failure = race.task.exception()
    assert isinstance(failure, UpstreamError) and failure.sent
    assert str(failure) == "broken"


async def test_a_mistake_of_the_gateway_is_not_taken_for_one_of_the_upstream() -> None:
    race = Race(AT_ONCE, 0)
    for upstream in race.upstreams:
        upstream.fate.set_exception(TypeError("a mistake"))

    await race.play([("time passes", 4)])

    assert isinstance(race.task.exception(), TypeError)


def test_progress_only_grows_whichever_try_reports_it() -> None:
    stream = EventStream()
    exchange = Exchange(1, ANONYMOUS, ClientProfile("2026-07-28"), {}, stream, NOTHING)
    first, second = (AttemptPeer(exchange, NOTHING, Raw(b"7")) for _ in range(2))

    for peer, progress in ((first, b"1"), (second, b"1"), (second, b"3"), (first, b"2"), (first, b"4")):
        peer.notify("notifications/progress", {"progressToken": Raw(b'"tw-1"'), "progress": Raw(progress)})

    told = [msgspec.json.decode(message)["params"] for _, message in stream.events]
    assert told == [{"progressToken": 7, "progress": progress} for progress in (1, 3, 4)]
