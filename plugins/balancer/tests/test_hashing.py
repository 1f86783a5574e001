"""Consistent hashing: whose key it is, and which keys move."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from balancer_world import World, call_of, principal
from hypothesis import given, strategies as st
from msgspec import Raw

NAMES = [f"http://{number}.example/mcp" for number in range(8)]
CALLS = [call_of(principal(f"p{number}")) for number in range(4000)]
HASH: dict[str, Any] = {"strategy": "hash"}


def owners(world: World) -> list[str]:
    return [world.pick(call) for call in CALLS]


@given(count=st.integers(2, 7), gone=st.integers(0, 7), seed=st.integers())
def test_when_an_endpoint_goes_only_its_own_keys_move(count: int, gone: int, seed: int) -> None:
    names = NAMES[:count]
    world, lost = World(*names, seed=seed, **HASH), names[gone % count]
    calls = CALLS[:200]
    before = [world.pick(call) for call in calls]

    world.declare(*(name for name in names if name != lost))

    for call, owner in zip(calls, before, strict=True):
        assert owner == lost or world.pick(call) == owner


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_keys_are_spread_evenly_and_a_new_endpoint_takes_its_part(count: int) -> None:
    world = World(*NAMES[: count - 1], **HASH)
    before = owners(world)

    world.declare(*NAMES[:count])
    after = owners(world)

    moved = sum(old != new for old, new in zip(before, after, strict=True)) / len(CALLS)
    assert moved == pytest.approx(1 / count, rel=0.15)
    assert all(part / len(CALLS) == pytest.approx(1 / count, rel=0.15) for part in Counter(after).values())


def test_every_node_agrees() -> None:
    assert owners(World(*NAMES, seed=1, **HASH)) == owners(World(*reversed(NAMES), seed=2, **HASH))


def test_the_parts_of_keys_follow_the_weights() -> None:
    world = World(*NAMES[:2], upstreams={"many": {"strategy": "hash", "weights": {NAMES[0]: 3}}})

    assert Counter(owners(world))[NAMES[0]] / len(CALLS) == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        ("session", {"session": "s1"}, {"session": "s2"}),
        ("header:x-tenant", {"outgoing_headers": {"x-tenant": "1"}}, {"outgoing_headers": {"x-tenant": "2"}}),
        ("meta:example.com/tenant", *({"meta": {"example.com/tenant": Raw(each)}} for each in (b'"1"', b'"4"'))),
    ],
)
def test_calls_with_one_key_go_to_one_endpoint(key: str, one: dict[str, Any], other: dict[str, Any]) -> None:
    world = World(*NAMES, upstreams={"many": {"strategy": "hash", "key": key}})

    of_one, of_other = ({world.pick(call_of(**fields)) for _ in range(20)} for fields in (one, other))

    assert len(of_one) == len(of_other) == 1
    assert of_one != of_other


def test_calls_without_a_key_are_spread() -> None:
    world = World(*NAMES, **HASH)

    assert len({world.pick(call_of()) for _ in range(100)}) > 4


def test_the_keys_of_an_unhealthy_endpoint_go_elsewhere_and_come_back() -> None:
    world = World(*NAMES[:3], **HASH)
    before = owners(world)
    replica = world.replica(NAMES[0])

    for _ in range(3):
        world.pool.checked(replica, "down", world.clock.time)
    assert NAMES[0] not in owners(world)
    for _ in range(2):
        world.pool.checked(replica, "", world.clock.time)

    assert owners(world) == before
