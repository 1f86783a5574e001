"""What is learned of one endpoint, on a clock that the test moves."""

from __future__ import annotations

from math import exp

import pytest
from balancer_world import World

from toolway.plugin import (
    CircuitOpen,
    SessionLost,
    UpstreamError,
    UpstreamProtocol,
    UpstreamTimeout,
    UpstreamUnauthorized,
)


def test_a_peak_counts_at_once_and_is_forgotten_slowly() -> None:
    world = World("a", "b")
    a = world.replica("a")
    assert a.latency(world.clock.time) == pytest.approx(0.03)
    world.answer("a", 0.01)
    assert a.rtt == pytest.approx(0.01)

    world.answer("a", 1.0)
    assert a.rtt == 1.0
    world.clock.time += 10 - 0.01
    world.answer("a", 0.01)

    assert a.rtt == pytest.approx(exp(-1) + 0.01 * (1 - exp(-1)))


def test_silence_with_a_call_in_flight_counts_as_latency() -> None:
    world = World("a", "b")
    world.answer("a", 0.01)

    world.begin("a")
    world.clock.time += 3

    assert world.replica("a").latency(world.clock.time) == 3


def test_a_call_that_takes_long_at_an_endpoint_that_is_well_is_no_silence() -> None:
    world = World("a", "b")
    world.answer("a", 1.0)
    world.begin("a")
    world.clock.time += 30

    world.pool.checked(world.replica("a"), "", world.clock.time)

    assert world.replica("a").latency(world.clock.time) == pytest.approx(exp(-3))


def test_one_call_finds_out_whether_a_slow_endpoint_is_fast_again() -> None:
    world = World("a", "b")
    for name, seconds in (("a", 0.02), ("b", 0.2)):
        world.answer(name, seconds)
    world.clock.time += 60
    world.answer("a", 0.02)

    assert world.pick() == "b"
    world.begin("b")

    assert {world.pick() for _ in range(9)} == {"a"}


def test_a_cancelled_call_counts_only_when_it_waited_long() -> None:
    world = World("a", "b")
    world.answer("a", 0.1)

    world.end(world.begin("a"), 0.01, reply=False)
    assert world.replica("a").rtt == 0.1
    world.end(world.begin("a"), 5.0, reply=False)

    assert world.replica("a").rtt == 5.0
    assert world.replica("a").faults == 0


def test_an_endpoint_that_fails_fast_does_not_look_fast() -> None:
    world = World("a", "b")
    for name in ("a", "b"):
        world.answer(name, 0.1)

    world.fault("a")

    assert {world.pick() for _ in range(20)} == {"b"}
    a, b = (world.replica(name).cost(world.clock.time) for name in "ab")
    assert a == pytest.approx(2 * b, rel=0.02)


def test_faults_are_forgotten_and_halved_by_good_answers() -> None:
    world = World("a", "b")
    for _ in range(4):
        world.fault("a")
    assert world.replica("a").faults_now(world.clock.time) == 4

    world.answer("a", 0.0)
    assert world.replica("a").faults_now(world.clock.time) == 2
    world.clock.time += 100

    assert world.replica("a").faults_now(world.clock.time) < 0.001


NO_FAULTS = [
    CircuitOpen("open"),
    SessionLost("lost"),
    UpstreamUnauthorized("who are you"),
    UpstreamError("slow down", upstream_status=429),
]


@pytest.mark.parametrize("error", NO_FAULTS, ids=lambda error: type(error).__name__)
def test_what_says_nothing_about_the_endpoint_is_no_fault(error: Exception) -> None:
    world = World("a", "b")

    for _ in range(9):
        world.fault("a", error)

    assert world.replica("a").faults == 0
    assert world.replica("a").is_healthy


@pytest.mark.parametrize("error", [UpstreamTimeout("late"), UpstreamProtocol("no MCP")])
def test_five_faults_in_a_row_make_it_unhealthy(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "toolway_balancer")
    world = World("a", "b")
    for _ in range(4):
        world.fault("a", error)
    world.answer("a", 0.01)
    for _ in range(4):
        world.fault("a", error)
    assert world.replica("a").is_healthy

    world.fault("a", error)

    assert {world.pick() for _ in range(50)} == {"b"}
    assert world.replica("a").due <= world.clock.time, "it is checked at once"
    assert f"endpoint a of upstream many is unhealthy: 5 calls in a row failed: {error}" in caplog.text


def test_health_checks_need_three_bad_and_two_good_ones() -> None:
    world = World("a", "b")
    a, now = world.replica("a"), world.clock.time
    states = []

    for problem in ("bad", "bad", "", "bad", "bad", "bad", "", "bad", "", ""):
        world.pool.checked(a, problem, now)
        states.append(a.is_healthy)

    assert states == [True, True, True, True, True, False, False, False, False, True]
    assert a.share(now) == 0.1, "it starts slowly again"


def test_unhealthy_ones_are_avoided_unless_they_are_more_than_half() -> None:
    world = World("a", "b", "c", strategy="round-robin")
    down = {"a", "b"}

    for _ in range(3):
        world.pool.checked(world.replica("a"), "down", world.clock.time)
    assert {world.pick() for _ in range(9)} == {"b", "c"}
    for _ in range(3):
        world.pool.checked(world.replica("b"), "down", world.clock.time)

    assert world.pool.is_in_panic
    assert {world.pick() for _ in range(9)} == {"a", "b", "c"}
    assert {name for name in "abc" if not world.replica(name).is_healthy} == down


def test_of_given_endpoints_that_are_all_unhealthy_one_is_picked() -> None:
    world = World("a", "b", "c")
    for _ in range(3):
        world.pool.checked(world.replica("a"), "down", world.clock.time)

    assert world.pick(endpoints=world.endpoints[:1]) == "a"
    assert world.pick(endpoints=world.endpoints[:2]) == "b"


def test_without_panic_one_is_picked_all_the_same_when_all_are_unhealthy() -> None:
    world = World("a", "b", "c", strategy="weighted", panic=1, upstreams={"many": {"weights": dict.fromkeys("abc", 0)}})
    for name in "abc":
        for _ in range(3):
            world.pool.checked(world.replica(name), "down", world.clock.time)

    assert not world.pool.is_in_panic
    assert {world.pick() for _ in range(9)} == {"a", "b", "c"}


def test_the_only_endpoint_is_never_unhealthy() -> None:
    world = World("a")

    for _ in range(9):
        world.fault("a")

    assert world.replica("a").is_healthy


def test_what_is_known_stays_when_the_upstream_changes_and_goes_with_the_endpoint() -> None:
    world = World("a", "b")
    world.answer("a", 0.5)
    in_flight = world.begin("b")

    world.declare("a", "c")
    assert world.replica("a").rtt == 0.5
    assert set(world.pool.replicas) == {"a", "c"}
    world.end(in_flight, 0.1)
    world.declare("a", "b")

    assert world.replica("b").is_new and not world.replica("b").in_flight


def test_after_a_reload_what_was_known_is_known() -> None:
    before, after = World("a", "b", "old"), World("a", "b", "new")
    before.answer("a", 0.5)
    in_flight = before.begin("b")
    assert after.replica("a").is_new

    after.balancer.adopt(before.balancer.memory)

    assert after.replica("a").rtt == 0.5
    assert after.replica("b").in_flight == 1
    assert set(after.pool.replicas) == {"a", "b", "new"}
    before.end(in_flight, 0.1)
    assert after.replica("b").in_flight == 0


def test_a_weight_of_an_absent_endpoint_is_told(caplog: pytest.LogCaptureFixture) -> None:
    world = World("a", "b", upstreams={"many": {"weights": {"c": 2}}})

    world.pick()

    assert "plugins.balancer.upstreams.many.weights names c, which is no endpoint of it" in caplog.text
