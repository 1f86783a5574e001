"""The circuit of one endpoint, on a clock that only the test moves."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from toolway_breaker.circuit import Circuit, State
from toolway_breaker.faults import Fault
from toolway_breaker.limits import BreakerSettings

REFUSED = Fault("no connection")


def longest(low: float, high: float) -> float:
    return high


def shortest(low: float, high: float) -> float:
    return low


@dataclass
class Driven:
    """A circuit with its clock, and what it told."""

    limits: BreakerSettings = field(default_factory=BreakerSettings)
    uniform: object = shortest
    now: float = 1000.0
    told: list[tuple[State, State, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.circuit = Circuit(self.limits, lambda *each: self.told.append(each), self.uniform)  # type: ignore[arg-type]

    def fail(self, times: int = 1, fault: Fault = REFUSED) -> None:
        for _ in range(times):
            self._attempt(fault)

    def succeed(self, times: int = 1) -> None:
        for _ in range(times):
            self._attempt(None)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def state(self) -> State:
        return self.circuit.state

    @property
    def wait(self) -> float:
        return self.circuit.wait(self.now)

    def _attempt(self, fault: Fault | None) -> None:
        attempt = object()
        self.circuit.begin(attempt, self.now)
        if fault:
            self.circuit.bad(attempt, self.now, self.now, fault)
        else:
            self.circuit.good(attempt, self.now, self.now)


def opened(**limits: float) -> Driven:
    driven = Driven(BreakerSettings.model_validate(limits))
    driven.fail(driven.limits.faults)
    assert driven.state() == "open"
    return driven


def test_five_faults_in_a_row_open_it_and_say_why() -> None:
    driven = Driven()

    driven.fail(4)
    assert driven.state() == "closed"
    driven.fail()

    assert driven.told == [("closed", "open", "5 faults in a row, the last one: no connection")]
    assert driven.wait == 5.0


def test_a_good_answer_between_them_starts_the_count_again() -> None:
    driven = Driven()

    driven.fail(4)
    driven.succeed()
    driven.fail(4)

    assert driven.state() == "closed"


def test_half_of_twenty_calls_within_ten_seconds_open_it() -> None:
    driven = Driven()

    for _ in range(9):
        driven.fail()
        driven.succeed()
    assert driven.state() == "closed"
    driven.succeed()
    driven.fail()

    assert driven.told == [("closed", "open", "10 of 20 calls failed within 10 s")]


def test_what_is_older_than_the_window_does_not_count() -> None:
    driven = Driven()

    for _ in range(9):
        driven.fail()
        driven.succeed()
    driven.pass_time(10)
    driven.fail()
    driven.succeed()

    assert driven.state() == "closed"


def test_the_time_that_it_stays_open_doubles_up_to_a_minute() -> None:
    driven, waits = opened(), []

    for _ in range(6):
        waits.append(driven.wait)
        driven.pass_time(driven.wait)
        driven.fail()

    assert waits == [5.0, 10.0, 20.0, 40.0, 40.0, 40.0]
    assert driven.circuit.openings == 7


def test_the_random_part_is_half_of_the_rest_and_never_more_than_a_minute_in_all() -> None:
    driven, waits = Driven(uniform=longest), []
    driven.fail(5)

    for _ in range(5):
        waits.append(driven.wait)
        driven.pass_time(driven.wait)
        driven.fail()

    assert waits == [7.5, 15.0, 30.0, 60.0, 60.0]


def test_half_open_lets_one_call_through_at_a_time_and_two_good_ones_close_it() -> None:
    driven = opened()
    driven.pass_time(5)
    first, second, third = object(), object(), object()

    driven.circuit.begin(first, driven.now)
    assert driven.state() == "half-open" and driven.wait == 1.0
    driven.circuit.begin(second, driven.now)
    driven.circuit.good(second, driven.now, driven.now)
    assert driven.wait == 1.0, "only the one that finds out counts"
    driven.circuit.good(first, driven.now, driven.now)
    assert driven.state() == "half-open" and driven.wait == 0
    driven.circuit.begin(third, driven.now)
    driven.circuit.good(third, driven.now, driven.now)

    assert driven.state() == "closed" and driven.circuit.openings == 0
    assert driven.told[-1] == ("half-open", "closed", "2 calls in a row were good")


def test_a_cancelled_call_lets_the_next_one_find_out_and_changes_nothing_else() -> None:
    driven = opened()
    driven.pass_time(5)
    cancelled = object()

    driven.circuit.begin(cancelled, driven.now)
    driven.circuit.neutral(cancelled)

    assert driven.state() == "half-open" and driven.wait == 0
    driven.succeed(2)
    assert driven.state() == "closed"


def test_calls_that_began_before_it_closed_do_not_open_it_again() -> None:
    driven = opened()
    driven.pass_time(5)
    driven.succeed(2)

    driven.pass_time(20)
    for _ in range(20):
        driven.circuit.bad(object(), driven.now, driven.now - 25.5, Fault("timeout"))

    assert driven.state() == "closed" and driven.circuit.faults == 0


def test_answers_that_come_late_do_not_close_it() -> None:
    driven = opened()

    driven.circuit.good(object(), driven.now, driven.now - 1)
    driven.circuit.bad(object(), driven.now, driven.now - 1, REFUSED)

    assert driven.state() == "open" and driven.circuit.openings == 1


@pytest.mark.parametrize(("asked", "waited"), [(7, 7.0), (1, 1.0), (3600, 60.0)])
def test_retry_after_opens_it_at_once_for_as_long_as_asked_up_to_a_minute(asked: float, waited: float) -> None:
    driven = Driven()

    driven.fail(1, Fault("server error", asked))

    assert driven.state() == "open" and driven.wait == waited


def test_retry_after_may_be_ignored() -> None:
    driven = Driven(BreakerSettings(obey_retry_after=False))

    driven.fail(4, Fault("server error", 30))
    assert driven.state() == "closed"
    driven.fail(1, Fault("server error", 30))

    assert driven.wait == 5.0


def test_one_that_was_opened_by_hand_stays_open_until_somebody_closes_it() -> None:
    driven = Driven()

    driven.circuit.hold_open(driven.now)
    driven.pass_time(1e6)
    driven.circuit.begin(object(), driven.now)
    assert driven.state() == "open" and driven.wait == 60.0
    driven.circuit.close(driven.now)

    assert driven.state() == "closed" and driven.wait == 0
    assert [each[:2] for each in driven.told] == [("closed", "open"), ("open", "closed")]


def test_bounds_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="open_time is longer than max_open_time"):
        BreakerSettings(open_time=61)
    with pytest.raises(ValueError, match="ejection_time is longer than max_ejection_time"):
        BreakerSettings(ejection_time=301)
