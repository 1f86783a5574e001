"""When load is shed, and whose, on a clock that the test moves."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given, strategies as st
from limited import call

from toolway_rate_limit.overload import TICK_SECONDS, Overload
from toolway_rate_limit.settings import SheddingSettings
from toolway_rate_limit.shedder import Shedder
from toolway_testing.clock import MovedClock

SETTINGS: dict[str, Any] = {"least": 0, "first": [{"servers": ["batch"]}], "last": [{"principals": ["user:boss"]}]}
NORMAL, FIRST, LAST = call(), call(server="batch"), call("user:boss", server="batch")


def shedder(clock: MovedClock, **settings: Any) -> Shedder:
    return Shedder(SheddingSettings(**{**SETTINGS, **settings}), clock)


def live(shed: Shedder, clock: MovedClock, seconds: float, lag: float) -> None:
    """The event loop is late by `lag` all the time."""
    end = clock.time + seconds
    while clock.time < end:
        clock.time += TICK_SECONDS + lag
        shed.look(lag)


def refused(shed: Shedder, one: Any, count: int = 200) -> int:
    """How many of such calls are refused."""
    before = sum(shed.shed.values())
    for _ in range(count):
        if shed.enter(one) is None:
            shed.leave()
    return sum(shed.shed.values()) - before


def test_nothing_is_shed_while_the_loop_is_on_time() -> None:
    clock = MovedClock()
    shed = shedder(clock)

    live(shed, clock, 60, lag=0.2)

    assert [refused(shed, each) for each in (FIRST, NORMAL, LAST)] == [0, 0, 0]


def test_calls_give_way_in_the_order_of_their_priority() -> None:
    clock = MovedClock()
    shed = shedder(clock)

    for level, expected in [(0.2, (120, 0, 0)), (0.5, (200, 100, 0)), (0.8, (200, 190, 80)), (1.0, (200, 190, 190))]:
        shed.overload.level = level
        found = [refused(shed, each) for each in (FIRST, NORMAL, LAST)]
        assert all(abs(count - wanted) <= 1 for count, wanted in zip(found, expected, strict=True)), (level, found)


def test_it_begins_within_two_seconds_and_is_over_within_five(caplog: pytest.LogCaptureFixture) -> None:
    clock = MovedClock()
    shed = shedder(clock)
    with caplog.at_level(logging.INFO, "toolway_rate_limit"):
        live(shed, clock, 2, lag=0.5)
        assert refused(shed, NORMAL) > 100
        live(shed, clock, 30, lag=0.5)

        live(shed, clock, 5, lag=0.0)

    assert [refused(shed, each) for each in (FIRST, NORMAL, LAST)] == [0, 0, 0]
    assert [record.message.split(";")[0][:20] for record in caplog.records] == [
        "load is shed: the ev",
        "no more load is shed",
    ]


def test_a_single_pause_costs_normal_calls_nothing_and_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    clock = MovedClock()
    shed = shedder(clock)
    live(shed, clock, 10, lag=0.0)

    with caplog.at_level(logging.INFO, "toolway_rate_limit"):
        live(shed, clock, 0.4, lag=0.4)
        assert refused(shed, NORMAL) == refused(shed, LAST) == 0
        live(shed, clock, 5, lag=0.0)

    assert not caplog.records


def test_clients_are_told_to_come_back_later_the_more_is_shed() -> None:
    shed = shedder(MovedClock())

    for level, most in [(0.34, 2.4), (1.0, 5.0)]:
        shed.overload.level = level
        refusals = [shed.enter(FIRST) for _ in range(400)]
        waits = [error.details["retry_after"] for error in refusals if error is not None]
        assert 1.0 <= min(waits) < 1.5 and most - 0.5 < max(waits) <= most
        shed.in_flight = 0


def test_a_few_calls_are_always_done_except_the_first_to_give_way() -> None:
    shed = shedder(MovedClock(), least=4)
    shed.overload.level = 1.0

    assert [refused(shed, each) for each in (FIRST, NORMAL, LAST)] == [200, 0, 0]
    for _ in range(4):
        shed.in_flight += 1
    assert [refused(shed, each) for each in (NORMAL, LAST)] == [190, 190]


def test_too_many_calls_in_flight_are_refused_by_priority() -> None:
    shed = shedder(MovedClock(), in_flight=10)

    for _ in range(8):
        shed.enter(NORMAL)
    assert (refused(shed, FIRST, 1), refused(shed, NORMAL, 1)) == (1, 0)
    for _ in range(2):
        shed.enter(NORMAL)
    assert (refused(shed, NORMAL, 1), refused(shed, LAST, 1)) == (1, 0)
    for _ in range(10):
        shed.leave()
    assert (shed.in_flight, refused(shed, FIRST, 1)) == (0, 0)


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 2.0)), max_size=50))
def test_the_level_stays_within_its_bounds_and_goes_back_whatever_happened(looks: list[tuple[float, float]]) -> None:
    overload, now = Overload(0.25), 100.0
    for pause, lag in looks:
        now += pause
        overload.observe(lag, now)
        assert 0.0 <= overload.level <= 1.0
    for _ in range(250):
        now += TICK_SECONDS
        overload.observe(0.0, now)
    assert overload.level == 0.0
    assert len(overload._lags) <= 1500
