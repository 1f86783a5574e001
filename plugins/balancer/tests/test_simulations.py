"""Traffic on simulated endpoints: who gets how many calls, and how long clients wait."""

from __future__ import annotations

from collections import Counter

import pytest
from balancer_world import World, around, percentile

FAST, SLOW = 0.02, 0.2
ONE_SLOW = {"a": around(FAST), "b": around(FAST), "slow": around(SLOW)}


def shares(seen: list[tuple[str, float]]) -> dict[str, float]:
    counted = Counter(name for name, _ in seen)
    return {name: count / len(seen) for name, count in counted.items()}


def p99(seen: list[tuple[str, float]], *names: str) -> float:
    return percentile([seconds for name, seconds in seen if not names or name in names], 0.99)


@pytest.mark.parametrize("clients", [1, 4, 12])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_of_three_that_is_ten_times_slower_is_hardly_noticed(clients: int, seed: int) -> None:
    world = World("a", "b", "slow", seed=seed)

    seen = world.traffic(ONE_SLOW, clients=clients, seconds=60)

    assert shares(seen)["slow"] < 0.01
    assert p99(seen) <= 1.5 * p99(seen, "a", "b")


def test_in_turn_everybody_waits_for_the_slow_one() -> None:
    world = World("a", "b", "slow", strategy="round-robin")

    seen = world.traffic(ONE_SLOW, clients=4, seconds=60)

    assert shares(seen)["slow"] == pytest.approx(1 / 3, abs=0.01)
    assert p99(seen) > 8 * p99(seen, "a", "b")


def test_one_that_becomes_slow_is_left_and_used_again_when_it_is_fast() -> None:
    world = World("a", "b", "slow")
    every_fast = {name: around(FAST) for name in ONE_SLOW}
    assert shares(world.traffic(every_fast, clients=4, seconds=30))["slow"] > 0.2

    assert shares(world.traffic(ONE_SLOW, clients=4, seconds=60))["slow"] < 0.01
    world.traffic(every_fast, clients=4, seconds=60)

    assert shares(world.traffic(every_fast, clients=4, seconds=30))["slow"] > 0.2


def test_one_that_hangs_gets_a_handful_of_calls_before_the_first_times_out() -> None:
    world = World("a", "b", "hangs")
    latencies = {"a": around(FAST), "b": around(FAST), "hangs": lambda _: 30.0}
    world.traffic({name: around(FAST) for name in latencies}, clients=8, seconds=10)

    seen = world.traffic(latencies, clients=64, seconds=20, pause=0.05)

    assert Counter(name for name, _ in seen)["hangs"] <= 24
    assert len(seen) > 10_000


def test_equal_endpoints_get_equal_parts() -> None:
    world = World("a", "b", "c", "d")

    seen = world.traffic({name: around(FAST) for name in "abcd"}, clients=16, seconds=60)

    assert all(0.2 < share < 0.3 for share in shares(seen).values())


def test_a_new_endpoint_gets_its_part_bit_by_bit() -> None:
    world = World("a", "b")
    latencies = {name: around(0.05) for name in "abc"}
    world.traffic(latencies, clients=12, seconds=20)

    world.declare("a", "b", "c")
    first = shares(world.traffic(latencies, clients=12, seconds=5)).get("c", 0)
    second = shares(world.traffic(latencies, clients=12, seconds=10)).get("c", 0)
    world.traffic(latencies, clients=12, seconds=30)

    assert first < second < 0.3
    assert shares(world.traffic(latencies, clients=12, seconds=30))["c"] == pytest.approx(1 / 3, abs=0.06)


@pytest.mark.parametrize("strategy", ["weighted", "peak-ewma", "least-request"])
def test_one_of_weight_zero_is_emptied(strategy: str) -> None:
    world = World("a", "b", "c", strategy=strategy, upstreams={"many": {"weights": {"c": 0}}})

    assert set(shares(world.traffic({name: around(FAST) for name in "abc"}, clients=8, seconds=5))) == {"a", "b"}
    assert world.pick(endpoints=world.endpoints[2:]) == "c"


def test_parts_follow_the_weights() -> None:
    world = World("a", "b", "c", strategy="weighted", upstreams={"many": {"weights": {"a": 5, "b": 2}}})

    picked = "".join(world.pick() for _ in range(80))

    assert Counter(picked) == {"a": 50, "b": 20, "c": 10}
    assert "aaaa" not in picked and "bb" not in picked
