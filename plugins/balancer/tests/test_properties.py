"""Whatever happens to calls, endpoints and health: the balancer stays right."""

from __future__ import annotations

import pytest
from balancer_world import NAME, World, call_of, principal
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from toolway.hookspecs.attempts import Attempt
from toolway.hookspecs.routing import Endpoint
from toolway.plugin import UpstreamTimeout

STRATEGIES = ["peak-ewma", "least-request", "round-robin", "weighted", "hash"]
IDS = ["a", "b", "c", "d", "e"]
SOME = st.sets(st.sampled_from(IDS), min_size=1).map(sorted)


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(known=SOME, offered=SOME, seed=st.integers(), unhealthy=SOME)
def test_a_pick_is_one_of_the_given_endpoints(
    strategy: str, known: list[str], offered: list[str], seed: int, unhealthy: list[str]
) -> None:
    world = World(*known, seed=seed, strategy=strategy)
    for name in set(unhealthy) & set(known):
        for _ in range(3):
            world.pool.checked(world.replica(name), "down", world.clock.time)

    for number in range(10):
        picked = world.pick(call_of(principal(str(number))), [Endpoint(each) for each in offered])
        assert picked in offered
        if set(known) & set(offered):
            assert picked in known


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_equal_seeds_give_equal_picks(strategy: str) -> None:
    one, other = (World(*IDS, seed=7, strategy=strategy) for _ in range(2))

    assert [one.pick() for _ in range(100)] == [other.pick() for _ in range(100)]


class Traffic(RuleBasedStateMachine):
    """Calls begin and end in any order while endpoints come, go, fall ill and recover."""

    def __init__(self) -> None:
        super().__init__()
        self.flying: list[Attempt] = []

    @initialize(strategy=st.sampled_from(STRATEGIES), ids=SOME, seed=st.integers())
    def start(self, strategy: str, ids: list[str], seed: int) -> None:
        self.world = World(*ids, seed=seed, strategy=strategy)

    @rule()
    def begin(self) -> None:
        self.flying.append(self.world.begin(self.world.pick()))

    @rule(number=st.integers(0), outcome=st.sampled_from(["reply", "fault", "cancelled"]))
    def end(self, number: int, outcome: str) -> None:
        if self.flying:
            attempt = self.flying.pop(number % len(self.flying))
            error = UpstreamTimeout("late") if outcome == "fault" else None
            self.world.end(attempt, 0.1, error=error, reply=outcome == "reply")

    @rule()
    def refused_before_it_began(self) -> None:
        upstream = self.world.catalog.snapshot.upstreams[NAME].upstream
        self.world.end(Attempt(call_of(), upstream, self.world.endpoints[0]), 0.0, reply=False)

    @rule(ids=SOME)
    def change_endpoints(self, ids: list[str]) -> None:
        self.world.declare(*ids)

    @rule(name=st.sampled_from(IDS), problem=st.sampled_from(["", "down"]))
    def check(self, name: str, problem: str) -> None:
        if name in self.world.pool.replicas and self.world.pool.is_judged:
            self.world.pool.checked(self.world.replica(name), problem, self.world.clock.time)

    @rule(seconds=st.floats(0, 1000))
    def wait(self, seconds: float) -> None:
        self.world.clock.time += seconds

    @invariant()
    def counts_are_right(self) -> None:
        every = self.world.pool.replicas.values()
        flown = sum(each.in_flight for each in every)
        assert all(each.in_flight >= 0 and each.faults >= 0 for each in every)
        assert flown <= len(self.flying)
        if not self.flying:
            assert flown == 0

    @invariant()
    def the_memory_is_that_of_the_catalog(self) -> None:
        assert {name for _, name in self.world.balancer.memory} == {each.id for each in self.world.endpoints}

    @invariant()
    def somebody_is_preferred_and_the_sick_only_in_panic(self) -> None:
        pool = self.world.pool
        sick = [each for each in pool.replicas.values() if not each.is_healthy]
        assert pool.preferred
        assert pool.is_in_panic == (2 * len(sick) > len(pool.replicas))
        assert pool.is_in_panic or not set(sick) & set(pool.preferred)


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=60, stateful_step_count=40)
