"""Histogram, knob, budget and limit, each alone: what holds whatever happens."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from toolway.hookspecs.routing import Endpoint
from toolway_autotune.concurrency import Gradient2
from toolway_autotune.histogram import LONGEST, SHORTEST, Histogram
from toolway_autotune.knob import Bounds, Knob, Manner
from toolway_autotune.retry_budget import MAX_TOKENS, WINDOW_SECONDS, RetryBudget

SECONDS = st.floats(SHORTEST, LONGEST)
ENDPOINTS = (Endpoint("http://a"), Endpoint("http://b"))
MANNER = Manner(0.2, 10.0)


def counted(values: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(st.lists(SECONDS, min_size=1, max_size=300), st.floats(0.01, 0.99))
def test_a_percentile_is_within_five_percent(values: list[float], share: float) -> None:
    exact = next(
        value for place, value in enumerate(sorted(values), 1) if place >= share * len(values) - 1e-6 * len(values)
    )

    assert counted(values).percentile(share) == pytest.approx(exact, rel=0.06)


@given(st.lists(SECONDS, max_size=50), st.lists(SECONDS, max_size=50), st.floats(0.01, 0.99))
def test_merged_histograms_are_that_of_all_values(one: list[float], two: list[float], share: float) -> None:
    merged = counted(one)
    merged.merge(counted(two))

    assert merged.percentile(share) == counted(one + two).percentile(share)
    assert merged.total == len(one + two)


@given(st.lists(st.floats(0, 1e9), max_size=500))
def test_a_histogram_is_small_whatever_it_counts_and_forgets_everything_at_last(values: list[float]) -> None:
    histogram = counted(values)
    assert len(histogram) <= 184

    for _ in range(40):
        histogram.decay(0.5)

    assert histogram.total == len(histogram) == 0


class KnobMachine(RuleBasedStateMachine):
    """A knob whose bounds and wishes change at will."""

    def __init__(self) -> None:
        super().__init__()
        self.knob, self.now = Knob(), 0.0
        self.moved_at: float | None = None

    @initialize(low=st.floats(0, 50), width=st.floats(0, 50))
    def bounds_are(self, low: float, width: float) -> None:
        self.bounds = Bounds(low, low + width)
        self.declared = self.bounds.high

    @rule(low=st.floats(0, 50), width=st.floats(0, 50))
    def an_operator_declares_something_else(self, low: float, width: float) -> None:
        self.bounds_are(low, width)

    @rule(seconds=st.floats(0, 30))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(wanted=st.floats(0, 200))
    def something_else_is_wanted(self, wanted: float) -> None:
        before = self.knob.present(self.declared, self.bounds)
        has_moved = self.knob.wish(wanted, self.declared, self.bounds, MANNER, self.now)
        after = self.knob.present(self.declared, self.bounds)
        if not has_moved:
            assert after == before
            return
        assert abs(after - before) >= MANNER.hysteresis * before and after != before
        assert self.moved_at is None or self.now - self.moved_at >= MANNER.interval
        self.moved_at = self.now

    @invariant()
    def it_is_within_its_bounds(self) -> None:
        if hasattr(self, "bounds"):
            assert self.bounds.low <= self.knob.present(self.declared, self.bounds) <= self.bounds.high


class BudgetMachine(RuleBasedStateMachine):
    """Calls, failures and repetitions as they come."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.budget = RetryBudget(0.2, 3)
        self.tokens = dict.fromkeys(ENDPOINTS, MAX_TOKENS)
        self.calls: list[float] = []
        self.retries: list[float] = []

    @rule(seconds=st.floats(0, 25))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(count=st.integers(1, 40))
    def calls_begin(self, count: int) -> None:
        for _ in range(count):
            self.budget.began(self.now)
            self.calls.append(self.now)

    @rule(endpoint=st.sampled_from(ENDPOINTS), failed=st.booleans(), count=st.integers(1, 12))
    def attempts_end(self, endpoint: Endpoint, failed: bool, count: int) -> None:
        for _ in range(count):
            self.budget.ended(endpoint, ENDPOINTS, failed=failed)
            left = self.tokens[endpoint]
            self.tokens[endpoint] = max(0, left - 1) if failed else min(MAX_TOKENS, left + 0.1)

    @rule()
    def a_repetition_is_wanted(self) -> None:
        if not self.budget.spend(self.now):
            return
        self.retries.append(self.now)
        assert max(self.tokens.values()) > MAX_TOKENS / 2
        recent = [at for at in self.retries if at > self.now - WINDOW_SECONDS]
        calls = [at for at in self.calls if at >= self.now - 2 * WINDOW_SECONDS]
        assert len(recent) <= max(3, 0.2 * len(calls))

    @invariant()
    def it_is_exhausted_while_most_fails_on_every_endpoint(self) -> None:
        assert self.budget.is_exhausted == all(left <= MAX_TOKENS / 2 for left in self.tokens.values())


for machine in (KnobMachine, BudgetMachine):
    machine.TestCase.settings = settings(stateful_step_count=40)
TestKnob = KnobMachine.TestCase
TestBudget = BudgetMachine.TestCase


def test_three_repetitions_are_allowed_however_few_the_calls_are() -> None:
    budget = RetryBudget(0.2, 3)
    budget.began(0.0)

    assert [budget.spend(0.0) for _ in range(4)] == [True, True, True, False]
    assert budget.spend(2 * WINDOW_SECONDS)


def test_most_attempts_failing_ends_repetitions_until_enough_succeed() -> None:
    budget = RetryBudget(1.0, 100)
    for endpoint in ENDPOINTS:
        assert not budget.is_exhausted
        for _ in range(5):
            budget.ended(endpoint, ENDPOINTS, failed=True)
    assert budget.is_exhausted and not budget.spend(0.0)

    budget.ended(endpoint, ENDPOINTS, failed=False)

    assert budget.spend(0.0)


def limit(minimum: int = 20, maximum: int = 200) -> Gradient2:
    return Gradient2(initial=20, minimum=minimum, maximum=maximum, smoothing=0.2, long_window=600, tolerance=1.5)


def windows(gradient: Gradient2, count: int, seconds: float, in_flight: int, start: float) -> float:
    """So many windows of calls; when they are over."""
    now = start
    for _ in range(count):
        for step in range(11):
            gradient.sample("echo", seconds, in_flight, now + step / 10)
        now += 1.1
    return now


def test_the_limit_grows_while_calls_take_as_long_as_usual() -> None:
    gradient = limit()

    windows(gradient, 100, 0.1, 200, 0.0)

    assert gradient.limit == 200


def test_the_limit_shrinks_in_overload_and_recovers() -> None:
    gradient = limit(maximum=64)
    now = windows(gradient, 100, 0.1, 64, 0.0)
    before = gradient.limit

    now = windows(gradient, 10, 1.0, 64, now)
    low = gradient.limit
    windows(gradient, 60, 0.1, 64, now)

    assert low < before / 2
    assert gradient.limit >= before * 0.95


def test_an_idle_upstream_says_nothing_about_its_limit() -> None:
    gradient = limit()

    windows(gradient, 50, 0.1, 3, 0.0)
    windows(gradient, 50, 5.0, 3, 100.0)

    assert gradient.limit == 20 and gradient.samples == 0


def test_calls_of_a_tool_that_is_slow_by_nature_are_no_overload() -> None:
    gradient = limit()
    for tool, seconds in (("quick", 0.01), ("slow", 3.0)) * 50:
        for step in range(11):
            gradient.sample(tool, seconds, 60, gradient.samples + step / 10)

    assert gradient.ratio == pytest.approx(1.0) and gradient.limit > 60


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 500), st.floats(0, 2)), max_size=300),
    st.integers(1, 30),
    st.integers(0, 100),
)
def test_the_limit_is_within_its_bounds_whatever_happens(
    samples: list[tuple[float, int, float]], low: int, width: int
) -> None:
    gradient, now = limit(low, low + width), 0.0
    gradient.bound(low, low + width)
    for seconds, in_flight, passed in samples:
        now += passed
        gradient.sample("echo", seconds, in_flight, now)

        assert low <= gradient.limit <= low + width
