"""Token buckets against a model that knows every call, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from limited import admitted, call, limiter, refusal

from toolway_rate_limit.buckets import Buckets
from toolway_testing.clock import MovedClock

KEYS = st.sampled_from(["a", "b", "c"])
RATE, BURST = 3, 5


class BucketMachine(RuleBasedStateMachine):
    """Three buckets of 5 tokens that get 3 per second; the model counts tokens in fractions."""

    def __init__(self) -> None:
        super().__init__()
        self.now = Fraction(1_000_000)
        self.buckets = Buckets(1 / RATE, BURST, most=100)
        self.tokens = {key: Fraction(BURST) for key in "abc"}
        self.taken: list[tuple[str, Fraction]] = []

    @rule(milliseconds=st.integers(1, 5_000))
    def wait(self, milliseconds: int) -> None:
        """Time goes by."""
        self.now += Fraction(milliseconds, 1000)
        self.tokens = {
            key: min(Fraction(BURST), tokens + Fraction(milliseconds * RATE, 1000))
            for key, tokens in self.tokens.items()
        }

    @rule(key=KEYS, times=st.integers(1, 8))
    def take(self, key: str, times: int) -> None:
        """Calls come in at once."""
        for _ in range(times):
            wait = self.buckets.take(key, float(self.now))
            if wait:
                assert self.tokens[key] < 1
                assert wait == pytest.approx(float((1 - self.tokens[key]) / RATE), abs=2e-3)
            else:
                assert self.tokens[key] >= Fraction(99, 100)
                self.tokens[key] -= 1
                self.taken.append((key, self.now))

    @precondition(lambda self: bool(self.taken))
    @rule()
    def give_back(self) -> None:
        """The last one was refused by somebody else, at once."""
        key, at = self.taken[-1]
        if at == self.now:
            self.taken.pop()
            self.buckets.give_back(key)
            self.tokens[key] += 1

    @invariant()
    def never_more_than_the_rate_and_the_burst(self) -> None:
        for key in "abc":
            times = [at for each, at in self.taken if each == key]
            for number, begin in enumerate(times):
                assert len(times) - number <= (self.now - begin) * RATE + BURST + Fraction(1, 100)

    @invariant()
    def what_is_left_is_known(self) -> None:
        for key in "abc":
            assert abs(self.buckets.left(key, float(self.now)) - int(self.tokens[key])) <= 1


TestBuckets = BucketMachine.TestCase


def test_of_too_many_keys_the_one_that_was_asked_for_longest_ago_is_forgotten() -> None:
    buckets = Buckets(1.0, 1, most=3)

    assert [buckets.take(key, 10.0) for key in ("a", "b", "c", "d")] == [0.0] * 4

    assert list(buckets.full_at) == ["b", "c", "d"]
    assert buckets.take("b", 10.0) > 0
    assert buckets.take("a", 10.0) == 0.0


def test_a_share_of_a_bucket_is_a_part_of_the_rate_and_of_the_burst() -> None:
    buckets = Buckets(1.0, 8, most=3)
    buckets.share(4)

    assert [buckets.take("a", 10.0) > 0 for _ in range(3)] == [False, False, True]
    assert buckets.take("a", 13.9) > 0
    assert buckets.take("a", 14.1) == 0.0


async def test_the_default_is_600_calls_per_minute_and_1200_at_once() -> None:
    clock = MovedClock()
    limited = limiter(clock, {"rate": "600/m"})

    assert await admitted(limited, *[call()] * 1500) == 1200
    clock.time += 60
    assert await admitted(limited, *[call()] * 1500) == 600


async def test_what_one_rule_gave_is_given_back_when_another_one_refuses() -> None:
    clock = MovedClock()
    limited = limiter(clock, {"rate": "10/m", "burst": 3}, {"by": "server", "rate": "10/m", "burst": 1})

    assert await admitted(limited, *[call()] * 4) == 1
    refused = await refusal(limited, call())

    assert refused is not None and "r1" in refused.message
    assert limited.limits[0].buckets is not None
    assert limited.limits[0].buckets.emptiest(clock.time, 5) == [("user:alice", 2)]


async def test_a_cancelled_call_frees_its_place() -> None:
    limited = limiter(MovedClock(), {"concurrent": 1})
    blocked: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def hang(_: object) -> None:
        await blocked

    task = asyncio.create_task(limited(call(), hang))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert await admitted(limited, call()) == 0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert await admitted(limited, call()) == 1
