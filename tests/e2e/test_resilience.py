"""The plugins that keep calls going, all of them at once, in front of real replicas that die and slow down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from fault_proxy import LATENCY, FaultProxy
from stage import Replica, replicas

from toolway_testing.gateway import Answer, RunningGateway, StartGateway
from toolway_testing.polling import eventually

PLUGINS = ["rate-limit", "autotune", "breaker", "balancer"]
SERVERS = [{"name": "open", "include": ["many/*"], "access": "public"}]
READ = {"uri": "test://static-text"}
TOOL = "many__test_simple_text"
HURRY = "example.com/timeoutMs"
CLIENTS = 6
MANY = 1_000

Scene = list[tuple[Replica, FaultProxy]]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Replica]]:
    with replicas(tmp_path_factory.mktemp("replicas"), 3) as running:
        yield running


@pytest.fixture
async def scene(three: list[Replica]) -> AsyncIterator[Scene]:
    """Three replicas, each behind a proxy that can make it slow."""
    async with AsyncExitStack() as stack:
        for each in three:
            if each.process is None or each.process.poll() is not None:
                await asyncio.to_thread(each.start)
        yield [(each, await stack.enter_async_context(FaultProxy(each.port).running())) for each in three]


async def started(gateway: StartGateway, scene: Scene, **autotune: Any) -> RunningGateway:
    """A gateway with all of the plugins, once it knows what the replicas offer."""
    upstream = {"name": "many", "kind": "http", "endpoints": [proxy.url for _, proxy in scene], "allow_private": True}
    gate = await gateway(
        enable=PLUGINS,
        plugins={
            "autotune": {"mode": "apply", "interval": 0.2, "min_samples": 20, "min_timeout": 1, **autotune},
            "rate-limit": {"rules": [{"name": "callers", "rate": "1/d", "burst": MANY, "concurrent": 100}]},
        },
        upstreams=[upstream],
        servers=SERVERS,
    )
    await eventually(lambda: gate.gateway.plane.view("open").listed("tool"))
    return gate


async def read(gate: RunningGateway) -> Answer:
    return await gate.mcp("resources/read", READ, server="open")


async def busy(gate: RunningGateway, rounds: int) -> tuple[int, int]:
    """How many reads and how many calls of a tool failed, of so many from each client."""

    async def client() -> tuple[int, int]:
        reads = calls = 0
        for _ in range(rounds):
            reads += "result" not in (await read(gate)).content
            calls += "result" not in (await gate.call(TOOL, server="open")).content
        return reads, calls

    failed = await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return sum(reads for reads, _ in failed), sum(calls for _, calls in failed)


async def states(gate: RunningGateway) -> tuple[Any, Any, Any, Any]:
    """Breakers and endpoints by URL, what is tuned, and the limits."""
    breakers = (await gate.api("GET", "/breakers/many")).content["endpoints"]
    endpoints = (await gate.api("GET", "/endpoints")).content["items"]
    tuned = (await gate.api("GET", "/autotune/many")).content
    [limit] = (await gate.api("GET", "/rate-limits")).content["rules"]
    by_url = {each["endpoint"]: each for each in endpoints if each["name"] == "many"}
    return {each["endpoint"]: each for each in breakers}, by_url, tuned, limit


async def test_calls_go_on_while_one_of_three_replicas_is_slow_and_another_is_killed(
    gateway: StartGateway, scene: Scene
) -> None:
    (dying, first), (_, slow), (_, good) = scene
    gate = await started(gateway, scene, hedge_after=LATENCY / 2, min_retries=1000)
    await slow.set("latency")
    assert await busy(gate, 10) == (0, 0)

    dying.kill()
    reads, calls = await busy(gate, 20)

    assert reads == 0
    assert calls <= CLIENTS  # what was in flight on it, and may not be repeated
    breakers, endpoints, tuned, limit = await states(gate)
    killed = breakers[first.url]
    assert killed["faults"] or killed["ejected_for"] or killed["state"] != "closed"
    assert (breakers[slow.url]["state"], breakers[good.url]["state"]) == ("closed", "closed")
    assert breakers[good.url]["ejected_for"] == 0
    assert endpoints[slow.url]["latency_ms"] > endpoints[good.url]["latency_ms"]
    assert endpoints[good.url]["attempts"] > max(endpoints[each.url]["attempts"] for each in (first, slow))
    assert (tuned["running"], tuned["exhausted"], limit["refused"], limit["fullest"]) == (0, False, 0, [])
    answer = await read(gate)
    assert answer.headers["ratelimit-policy"] == '"callers";q=1;w=86400'
    assert answer.headers["ratelimit"] == f'"callers";r={MANY - 2 * CLIENTS * 30 - 1}'
    assert_nothing_is_held(gate)


def assert_nothing_is_held(gate: RunningGateway) -> None:
    plane = gate.gateway.plane
    assert plane.attempts.queues.total == 0
    assert [held for held in plane.legs._all() if held.users] == []


async def test_a_second_try_that_may_not_be_made_is_no_fault_of_its_endpoint(
    gateway: StartGateway, scene: Scene
) -> None:
    gate = await started(gateway, scene, hedge_after=0.01, min_retries=1, retry_budget=0)
    for _, proxy in scene:
        await proxy.set("latency")

    answers = await asyncio.gather(*(read(gate) for _ in range(20)))

    assert all("result" in answer.content for answer in answers)
    breakers, _, tuned, _ = await states(gate)
    assert {each["state"] for each in breakers.values()} == {"closed"}
    assert {each["faults"] for each in breakers.values()} == {0}
    assert (tuned["running"], tuned["exhausted"]) == (0, False)
    assert_nothing_is_held(gate)


async def test_clients_that_leave_at_any_time_leave_nothing_behind(gateway: StartGateway, scene: Scene) -> None:
    gate = await started(gateway, scene, hedge_after=0.01, min_retries=1000)
    for _, proxy in scene:
        await proxy.set("jitter")

    async def impatient(seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await read(gate)
        except TimeoutError:
            pass

    await asyncio.gather(*(impatient(number / 400) for number in range(1, 100)))

    async def is_over() -> bool:
        return (await states(gate))[2]["running"] == 0 and gate.gateway.plane.attempts.queues.total == 0

    await eventually(is_over)
    assert_nothing_is_held(gate)
    assert {each["state"] for each in (await states(gate))[0].values()} == {"closed"}


async def test_a_client_that_is_in_a_hurry_takes_the_upstream_from_nobody(gateway: StartGateway, scene: Scene) -> None:
    gate = await started(gateway, scene, deadline_meta=HURRY, min_retries=1000)
    for _, proxy in scene:
        await proxy.set("latency")

    hurried = [await gate.mcp("resources/read", {**READ, "_meta": {HURRY: 5}}, server="open") for _ in range(40)]

    assert {answer.content["error"]["data"]["code"] for answer in hurried} == {"upstream_timeout"}
    breakers, endpoints, tuned, _ = await states(gate)
    assert {each["state"] for each in breakers.values()} == {"closed"}
    assert {each["health"] for each in endpoints.values()} == {"healthy"}
    assert (tuned["running"], tuned["exhausted"]) == (0, False)
    assert "result" in (await read(gate)).content
    assert_nothing_is_held(gate)


async def test_an_answer_that_is_a_stream_tells_what_is_left_too(gateway: StartGateway, scene: Scene) -> None:
    gate = await started(gateway, scene)
    params = {"name": "many__test_tool_with_progress", "arguments": {}, "_meta": {"progressToken": 7}}

    answer = await gate.mcp("tools/call", params, server="open")

    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["ratelimit"] == f'"callers";r={MANY - 1}'
