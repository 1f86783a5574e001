"""Tuning as a whole, in simulated time: what follows, how soon, and what never happens."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings, strategies as st
from simulation import DECLARED, UPSTREAM, Simulation, call_of

from toolway.hookspecs.attempts import Attempt, Policy
from toolway.hookspecs.routing import Endpoint, Reply
from toolway.plugin import UpstreamUnreachable
from toolway_autotune.choices import Choice
from toolway_autotune.events import KEPT


def test_nothing_changes_with_too_few_calls() -> None:
    simulation = Simulation()
    simulation.seconds = 5.0

    simulation.run(49.9, callers=4)

    assert simulation.values == DECLARED


def test_when_latency_doubles_the_timeout_has_followed_two_rounds_later() -> None:
    simulation = Simulation()
    simulation.seconds = 1.0
    simulation.run(60, callers=10)
    before = simulation.values

    simulation.seconds = 2.0
    simulation.run(20, callers=10)

    assert before.first_byte == pytest.approx(3.0, rel=0.1)
    assert simulation.values.first_byte == pytest.approx(6.0, rel=0.1)
    assert simulation.timed_out == 0


def test_when_latency_is_halved_the_timeout_follows_once_the_past_is_forgotten() -> None:
    simulation = Simulation(half_life=60)
    simulation.seconds = 2.0
    simulation.run(60, callers=10)

    simulation.seconds = 1.0
    simulation.run(8 * 60, callers=10)

    assert simulation.values.first_byte == pytest.approx(3.0, rel=0.1)


def test_a_timeout_that_became_too_short_grows_until_calls_fit_again() -> None:
    simulation = Simulation()
    simulation.run(60, callers=10)
    assert simulation.values.first_byte == 1.0  # the operator's minimum

    simulation.seconds = 8.0
    simulation.run(60, callers=10)

    assert simulation.values.first_byte > 8.0


def test_the_whole_call_has_time_for_every_attempt_and_the_waits_between_them() -> None:
    simulation = Simulation()
    simulation.seconds = 1.0

    simulation.run(60, callers=10)

    policy = simulation.values
    assert policy.retries == 2 and policy.backoff == pytest.approx(1.0, rel=0.06)
    assert policy.total == pytest.approx(3 * policy.first_byte + 3 * policy.backoff)


def test_in_overload_the_limit_shrinks_and_it_recovers() -> None:
    simulation = Simulation()
    simulation.run(120, callers=64)
    assert simulation.values.in_flight == DECLARED.in_flight

    simulation.capacity = 10
    simulation.run(120, callers=64)
    assert simulation.values.in_flight < DECLARED.in_flight / 2

    simulation.capacity = 1000
    simulation.run(180, callers=64)
    assert simulation.values.in_flight > DECLARED.in_flight * 0.8


def test_an_upstream_that_is_hardly_used_keeps_its_limit() -> None:
    simulation = Simulation()

    simulation.run(300, callers=3)

    assert simulation.values.in_flight == DECLARED.in_flight


def test_observing_gives_the_declared_policy_itself_but_tells() -> None:
    simulation = Simulation(mode="observe")
    simulation.run(60, callers=10)

    assert simulation.values is DECLARED
    events = simulation.tuner.upstreams["billing"].journal.events
    assert {event.value for event in events} == {"timeout", "backoff"} and {e.mode for e in events} == {"observe"}


def test_pinned_values_stay_and_tuning_goes_on_from_them() -> None:
    simulation = Simulation()
    simulation.run(60, callers=10)
    simulation.choices = {"billing": Choice(pins={"timeout": 7.0, "retries": None, "backoff": None}, actor="user:bob")}

    simulation.seconds = 4.0
    simulation.run(60, callers=10)

    policy = simulation.values
    assert (policy.first_byte, policy.retries, policy.backoff) == (7.0, DECLARED.retries, DECLARED.backoff)
    simulation.choices = {}
    assert simulation.values.first_byte == 7.0
    simulation.run(20, callers=10)
    assert simulation.values.first_byte == pytest.approx(12.0, rel=0.1)
    assert any(event.actor == "user:bob" for event in simulation.tuner.upstreams["billing"].journal.events)


def test_when_most_attempts_fail_calls_are_not_to_be_repeated() -> None:
    simulation = Simulation()
    for number in range(1, 7):
        attempt = Attempt(call_of(), UPSTREAM, UPSTREAM.endpoints[0], number)
        assert simulation.values.retries == (2 if number < 6 else 0)
        simulation.tuner.begin(attempt)
        attempt.error, attempt.is_repeated = UpstreamUnreachable("gone"), True
        simulation.tuner.done(attempt)
        assert attempt.is_repeated == (number <= 3)


@pytest.mark.parametrize("sent", [False, True])
def test_calls_in_flight_on_an_endpoint_that_dies_are_all_tried_on_another_within_the_budget(sent: bool) -> None:
    simulation = Simulation()
    two = msgspec.structs.replace(UPSTREAM, endpoints=(Endpoint("http://a"), Endpoint("http://b")))
    attempts = [Attempt(call_of(), two, two.endpoints[number % 2]) for number in range(200)]
    simulation.tuner.known(two)
    for attempt in attempts:
        simulation.tuner.begin(attempt)
    for attempt in attempts:
        if attempt.endpoint.id == "http://a":
            attempt.error, attempt.is_repeated = UpstreamUnreachable("gone", sent=sent), True
        else:
            attempt.reply = Reply()
        simulation.tuner.done(attempt)

    assert sum(attempt.is_repeated for attempt in attempts) == (40 if sent else 100)


def test_a_cancelled_attempt_teaches_nothing_but_one_whose_time_is_up_does() -> None:
    simulation = Simulation()
    known = simulation.tuner.known(UPSTREAM)
    for left in (1.0, -0.001):
        attempt = Attempt(call_of(), UPSTREAM, UPSTREAM.endpoints[0])
        attempt.call.deadline = simulation.clock.time + left
        simulation.tuner.begin(attempt)
        simulation.tuner.done(attempt)

    assert sum(histogram.total for histogram in known.tools.values()) == 1
    assert known.in_flight == 0


def test_memory_is_bounded_whatever_the_names_and_the_number_of_events() -> None:
    simulation = Simulation(max_tools=10, interval=0.001, hysteresis=0)
    for number in range(500):
        attempt = Attempt(call_of(f"tool-{number}"), UPSTREAM, UPSTREAM.endpoints[0])
        simulation.tuner.adjust(DECLARED, UPSTREAM, attempt.call)
        simulation.tuner.begin(attempt)
        simulation.tuner.done(attempt)
    simulation.run(0.5, callers=200)
    for number in range(400):
        simulation.choices = {"billing": Choice(pins={"backoff": 1.0 + number % 2})}
        simulation.tuner.notice()
    known = simulation.tuner.upstreams["billing"]

    assert len(known.tools) <= 11 and len(known.journal.events) == KEPT
    simulation.tuner.forget({})
    assert list(simulation.tuner.upstreams) in ([], ["billing"])


POLICIES = st.builds(
    Policy,
    first_byte=st.floats(0.1, 60),
    total=st.floats(0.1, 120),
    retries=st.integers(0, 5),
    in_flight=st.integers(1, 300),
)


@settings(max_examples=30)
@given(POLICIES, st.lists(st.tuples(st.floats(0.0001, 200), st.integers(1, 100)), min_size=1, max_size=12))
def test_no_policy_is_ever_outside_of_its_bounds(declared: Policy, phases: list[tuple[float, int]]) -> None:
    simulation = Simulation(min_samples=5)
    tuner, clock = simulation.tuner, simulation.clock
    for seconds, count in phases:
        for _ in range(count):
            call = call_of()
            policy = tuner.adjust(declared, UPSTREAM, call)
            assert min(1.0, declared.first_byte) <= policy.first_byte <= declared.first_byte
            assert policy.total <= declared.total and policy.retries <= min(2, declared.retries)
            assert min(20, declared.in_flight) <= policy.in_flight <= declared.in_flight
            assert policy.backoff * 2 ** max(0, policy.retries - 1) <= 10.0
            attempt = Attempt(call, UPSTREAM, UPSTREAM.endpoints[0], seconds=seconds)
            tuner.begin(attempt)
            clock.time += 0.2
            tuner.done(attempt)
        clock.time += 10
        tuner.decide()
