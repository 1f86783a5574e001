"""Limits that nodes share, on a clock that the test moves: never too many, few questions to the store, none in vain."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import settings as profile, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from limited import Pending, admitted, call, refusal
from nodes import Node, Troubled

from toolway.bundled.stores.keyvalue_memory import MemoryKeyValue
from toolway.plugin import RateLimited
from toolway_rate_limit.leases import Leases
from toolway_testing.clock import MovedClock

LIMIT = {"rate": "10/s", "burst": 40}
LARGEST = 2
"""A twentieth of the burst."""


class SharedMachine(RuleBasedStateMachine):
    """Three nodes and two principals: 10 calls per second and 40 at once, for each of them, wherever they call."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = MovedClock()
        keyvalue = MemoryKeyValue(self.clock)
        self.nodes = [Node(name, keyvalue, self.clock, LIMIT) for name in "abc"]
        self.times: dict[str, list[float]] = {"user:alice": [], "user:bob": []}

    @rule(milliseconds=st.integers(1, 9_000))
    def wait(self, milliseconds: int) -> None:
        """Time goes by."""
        self.clock.time += milliseconds / 1000

    @rule(who=st.sampled_from(["user:alice", "user:bob"]), node=st.integers(0, 2), count=st.integers(1, 45))
    def ask(self, who: str, node: int, count: int) -> None:
        """Calls come in at a node, one after the other."""
        found = self.runner.run(admitted(self.nodes[node].limited, *[call(who)] * count))
        self.times[who] += [self.clock.time] * found

    @rule(who=st.sampled_from(["user:alice", "user:bob"]), counts=st.tuples(*[st.integers(0, 15)] * 3))
    def ask_everywhere(self, who: str, counts: tuple[int, ...]) -> None:
        """Calls come in at all nodes at the same time."""

        async def together() -> int:
            calls = [
                refusal(node.limited, call(who))
                for node, count in zip(self.nodes, counts, strict=True)
                for _ in range(count)
            ]
            return (await asyncio.gather(*calls)).count(None)

        self.times[who] += [self.clock.time] * self.runner.run(together())

    @rule(node=st.integers(0, 2))
    def beat(self, node: int) -> None:
        """A node gives back what it does not use."""
        self.runner.run(self.nodes[node].store.beat())

    @invariant()
    def never_more_than_the_rate_and_the_burst(self) -> None:
        for times in self.times.values():
            assert len(times) <= (self.clock.time - 1_000_000) * 10 + 40 + 0.01
            for number, begin in enumerate(times):
                assert len(times) - number <= (self.clock.time - begin) * 10 + 40 + 3 * LARGEST + 0.01

    def teardown(self) -> None:
        """End the loop of this run."""
        self.runner.close()


TestShared = SharedMachine.TestCase
TestShared.settings = profile(max_examples=40, stateful_step_count=25, deadline=None)


async def test_few_calls_wait_for_the_store() -> None:
    clock = MovedClock()
    keyvalue = Troubled(clock)
    node = Node("a", keyvalue, clock, {"rate": "600/s", "burst": 1200})

    assert await admitted(node.limited, *[call()] * 1300) == 1200

    assert keyvalue.asked < 60


async def test_refused_callers_do_not_ask_the_store_again() -> None:
    clock = MovedClock()
    keyvalue = Troubled(clock)
    node = Node("a", keyvalue, clock, {"rate": "1/m", "burst": 2})
    assert await admitted(node.limited, *[call()] * 3) == 2
    before = keyvalue.asked

    assert await admitted(node.limited, *[call()] * 1000) == 0

    assert keyvalue.asked == before
    refused = await refusal(node.limited, call())
    assert refused is not None and refused.details["retry_after"] == pytest.approx(60, abs=0.1)
    clock.time += 60
    assert await admitted(node.limited, *[call()] * 3) == 1


async def test_without_the_store_each_node_keeps_to_its_part(caplog: pytest.LogCaptureFixture) -> None:
    clock = MovedClock()
    keyvalue = Troubled(clock)
    nodes = [Node(name, keyvalue, clock, {"rate": "10/m", "burst": 20}) for name in "ab"]
    for each in [*nodes, *nodes]:
        await each.store.beat()
    keyvalue.is_down = True

    with caplog.at_level(logging.INFO, "toolway_rate_limit"):
        found = [await admitted(each.limited, *[call()] * 30) for each in nodes]
        keyvalue.is_down = False
        await nodes[0].store.beat()

    assert found == [10, 10]
    messages = [record.message for record in caplog.records]
    assert (
        sum("is away (the store is down); this node keeps to the limits with one of 2 parts" in m for m in messages)
        == 2
    )
    assert messages[-1] == "the key-value store is back; limits are counted by all 2 nodes together"
    assert [each.store.is_away for each in nodes] == [False, True]


async def test_a_store_that_does_not_answer_holds_up_one_call_for_a_moment() -> None:
    clock = MovedClock()
    keyvalue = Troubled(clock)
    keyvalue.stuck = asyncio.Event()
    node = Node("a", keyvalue, clock, {"rate": "10/m", "burst": 20}, wait=0.05)
    loop = asyncio.get_running_loop()

    began = loop.time()
    assert await refusal(node.limited, call()) is None
    first = loop.time() - began
    assert await admitted(node.limited, *[call()] * 100) == 19

    assert 0.04 < first < 1.0
    assert loop.time() - began - first < 1.0
    keyvalue.stuck.set()
    await asyncio.sleep(0)


async def test_of_too_many_keys_the_busiest_one_is_not_forgotten() -> None:
    clock = MovedClock()
    node = Node("a", MemoryKeyValue(clock), clock, {"rate": "1/h", "burst": 200}, keys=100)

    for number in range(200):
        assert await admitted(node.limited, call(f"user:u{number}"), call()) == 2

    assert isinstance(node.limited.limits[0].buckets, Leases)
    assert len(node.limited.limits[0].buckets._leases) == 100
    assert await admitted(node.limited, call()) == 0


async def test_what_a_node_does_not_use_goes_back() -> None:
    clock = MovedClock()
    keyvalue = MemoryKeyValue(clock)
    one, two = (Node(name, keyvalue, clock, {"rate": "1/h", "burst": 100}) for name in "ab")
    assert await admitted(one.limited, *[call()] * 8) == 8

    clock.time += 6
    await one.store.beat()

    assert await admitted(two.limited, *[call()] * 150) == 92
    assert await admitted(one.limited, call()) == 0


async def test_calls_at_once_are_shared_out_among_the_nodes() -> None:
    clock = MovedClock()
    keyvalue = MemoryKeyValue(clock)
    nodes = [Node(name, keyvalue, clock, {"concurrent": 4}) for name in "ab"]
    for each in [*nodes, *nodes]:
        await each.store.beat()
    pending = Pending(nodes[0].limited)
    for _ in range(2):
        await pending.begin(call())

    with pytest.raises(RateLimited):
        await (await pending.begin(call()))

    assert [each.store.nodes for each in nodes] == [2, 2]
    await pending.end()


async def test_a_node_whose_clock_was_wrong_locks_nobody_out() -> None:
    clock, ahead = MovedClock(), MovedClock(1_000_000.0 + 86_400)
    keyvalue = MemoryKeyValue(clock)
    rule_: dict[str, Any] = {"rate": "10/m", "burst": 10}
    wrong, right = Node("a", keyvalue, ahead, rule_), Node("b", keyvalue, clock, rule_)
    await admitted(wrong.limited, *[call()] * 5)

    assert await admitted(right.limited, call()) == 0

    clock.time += 61
    assert await admitted(right.limited, *[call()] * 20) == 10
