"""A second try beside one that is late, and deadlines that clients bring along."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from tuned_gateway import behave, seen, started, value

from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

Endpoints = list[tuple[str, Any]]


async def timed(gate: RunningGateway, tool: str = "echo") -> tuple[bool, float]:
    """Whether it was answered, and in how many seconds."""
    began = time.monotonic()
    answer = await gate.call(f"slow__{tool}", server="open")
    return "result" in answer.content, time.monotonic() - began


async def balanced(gateway: StartGateway, endpoints: Endpoints, **settings: Any) -> RunningGateway:
    return await started(gateway, " ".join(url for url, _ in endpoints), **settings)


async def test_what_changes_nothing_is_tried_twice_when_late_and_the_first_answer_counts(
    gateway: StartGateway, endpoints: Endpoints
) -> None:
    gate = await balanced(gateway, endpoints, hedge_after=0.1, min_retries=100)
    (slow, _), (fast, _) = endpoints
    await behave(gate, slow, seconds=3)

    results = [await timed(gate) for _ in range(4)]

    assert all(is_good for is_good, _ in results)
    assert max(seconds for _, seconds in results) < 1.5
    assert (await seen(gate, slow))["calls"] >= 1
    assert (await seen(gate, fast))["calls"] >= 4 - (await seen(gate, slow))["calls"]
    plane = gate.gateway.plane
    assert plane.attempts.queues.total == 0
    assert all(not held.users for held in plane.legs._all())


async def test_what_may_change_something_is_never_tried_twice(gateway: StartGateway, endpoints: Endpoints) -> None:
    gate = await balanced(gateway, endpoints, hedge_after=0.05)
    for url, _ in endpoints:
        await behave(gate, url, seconds=0.3)

    await asyncio.gather(*(timed(gate, "write") for _ in range(4)))

    assert sum([(await seen(gate, url))["calls"] for url, _ in endpoints]) == 4


async def test_the_first_may_still_win_and_a_failed_one_does_not_count(
    gateway: StartGateway, endpoints: Endpoints
) -> None:
    gate = await balanced(gateway, endpoints, hedge_after=0.05, min_retries=100)
    (one, _), (two, _) = endpoints
    for url in (one, two):
        await behave(gate, url, seconds=0.2)
    assert all([(await timed(gate))[0] for _ in range(4)])

    await behave(gate, one, seconds=0.1, status=503)
    results = [await timed(gate) for _ in range(4)]
    assert all(is_good for is_good, _ in results)


async def test_hedges_are_within_the_budget_of_repetitions(gateway: StartGateway, endpoints: Endpoints) -> None:
    gate = await balanced(gateway, endpoints, hedge_after=0.02, min_retries=2, retry_budget=0.0)
    for url, _ in endpoints:
        await behave(gate, url, seconds=0.1)

    results = await asyncio.gather(*(timed(gate) for _ in range(10)))

    assert all(is_good for is_good, _ in results)
    assert sum([(await seen(gate, url))["calls"] for url, _ in endpoints]) == 12


async def test_the_delay_is_learned_and_shown(gateway: StartGateway, endpoints: Endpoints) -> None:
    gate = await balanced(gateway, endpoints, hedge=True, min_retries=100)
    for url, _ in endpoints:
        await behave(gate, url, seconds=0.05)

    async def learned() -> Any:
        await asyncio.gather(*(timed(gate) for _ in range(10)))
        found = await value(gate, "hedge_after", "echo")
        return found if found is not None and found["tuned"] > 0 else None

    found = await eventually(learned)
    assert 0.04 < found["tuned"] < 0.3
    assert found["declared"] == 0


async def test_a_client_may_shorten_the_time_of_a_call_and_never_lengthen_it(
    gateway: StartGateway, slow_upstream: str
) -> None:
    gate = await started(gateway, slow_upstream, deadline_meta="example.com/timeoutMs")
    await behave(gate, slow_upstream, seconds=3)

    async def call(said: Any) -> tuple[Any, float]:
        began = time.monotonic()
        params = {"name": "slow__echo", "arguments": {}, "_meta": {"example.com/timeoutMs": said}}
        async with asyncio.timeout(1.5):
            answer = await gate.mcp("tools/call", params, server="open")
        return answer, time.monotonic() - began

    async def told() -> int:
        return int((await seen(gate, slow_upstream))["meta"]["example.com/timeoutMs"])

    answer, seconds = await call(200)
    assert answer.content["error"]["data"]["code"] == "upstream_timeout"
    assert 0.15 < seconds < 1
    assert 0 < await told() <= 200
    await behave(gate, slow_upstream, seconds=0)
    everything: list[Any] = ["soon", None, {}, [1], 10**9, 1e300]
    for said in everything:
        answer, _ = await call(said)
        assert "result" in answer.content
        assert 50_000 < await told() <= 60_000


async def test_a_repetition_waits_as_long_as_the_upstream_said_unless_that_is_too_long(
    gateway: StartGateway, slow_upstream: str
) -> None:
    gate = await started(gateway, slow_upstream, min_retries=100)
    await behave(gate, slow_upstream, status=503, retry_after=1)
    healing = asyncio.get_running_loop().create_task(_heal(gate, slow_upstream))

    is_good, seconds = await timed(gate)
    await healing
    assert is_good
    assert seconds >= 0.95

    await behave(gate, slow_upstream, status=503, retry_after=3600)
    is_good, seconds = await timed(gate)
    assert (is_good, seconds < 1) == (False, True)


async def _heal(gate: RunningGateway, url: str) -> None:
    async def called() -> bool:
        return bool((await seen(gate, url))["calls"])

    await eventually(called)
    await behave(gate, url)
