"""The plugin in a whole gateway, with real upstream processes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import running

from toolway.cli.app import run
from toolway.plugin import ConfigError
from toolway_balancer.balancer import AdaptiveBalancer
from toolway_balancer.health_checks import HealthChecks
from toolway_balancer.settings import BalancerSettings
from toolway_testing.counted import counted
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

Replicas = Callable[[int], list[str]]

TOOL = "many__echo_raw"
QUICK: dict[str, Any] = {"health_interval": 0.05, "slow_start": 0}
PROBES = {"server/discover", "initialize", "notifications/initialized", "ping"}


async def started(gateway: StartGateway, urls: list[str], **settings: Any) -> RunningGateway:
    many = {"name": "many", "kind": "http", "endpoints": urls, "allow_private": True}
    gate = await gateway(
        enable=["balancer"],
        plugins={"balancer": settings},
        upstreams=[many],
        servers=[{"name": "open", "include": ["many/*"], "access": "public"}],
    )
    await eventually(lambda: gate.gateway.plane.view("open").listed("tool"))
    return gate


async def called(gate: RunningGateway, **options: Any) -> int:
    return (await gate.call(TOOL, {"n": 1}, server="open", **options)).status


async def shown(gate: RunningGateway) -> dict[str, dict[str, Any]]:
    answer = await gate.api("GET", "/endpoints")
    assert answer.status == 200, answer.content
    return {each["endpoint"]: each for each in answer.content["items"]}


async def order(gate: RunningGateway, url: str, trick: str | None, method: str | None = None) -> None:
    """From now on the replica does that with requests of the method."""
    body = {"trick": trick, "method": method, "times": -1}
    async with gate.http.put(url.replace("/mcp", "/_order"), json=body) as answer:
        assert answer.status < 300


async def methods(gate: RunningGateway, url: str) -> list[str]:
    async with gate.http.get(url.replace("/mcp", "/_requests")) as answer:
        return [json.loads(each["body"])["method"] for each in await answer.json() if each["method"] == "POST"]


async def has_health(gate: RunningGateway, url: str, health: str) -> bool:
    found = str((await shown(gate))[url]["health"])
    return found == health


async def test_calls_are_spread_and_what_is_learned_is_shown(gateway: StartGateway, replicas: Replicas) -> None:
    urls = replicas(3)
    gate = await started(gateway, urls, strategy="round-robin")

    assert [await called(gate) for _ in range(9)] == [200] * 9

    found = await shown(gate)
    assert list(found) == sorted(urls)
    for state in found.values():
        assert state["name"] == "many" and state["strategy"] == "round-robin"
        assert state["attempts"] == 3 and state["in_flight"] == 0 and state["latency_ms"] > 0
        assert state["health"] == "healthy" and state["used"] and state["weight"] == state["share"] == 1


async def test_a_call_is_in_flight_until_it_ends_or_the_client_goes(gateway: StartGateway, replicas: Replicas) -> None:
    urls = replicas(2)
    gate = await started(gateway, urls)
    for url in urls:
        await order(gate, url, "hang", "tools/call")

    task = asyncio.create_task(called(gate))
    await eventually(lambda: in_flight(gate, 1))
    task.cancel()

    await eventually(lambda: in_flight(gate, 0))
    assert all(each["faults"] == 0 for each in (await shown(gate)).values())


async def in_flight(gate: RunningGateway, count: int) -> bool:
    return sum(int(each["in_flight"]) for each in (await shown(gate)).values()) == count


async def test_a_replica_that_fails_its_checks_gets_no_calls_until_it_is_well(
    gateway: StartGateway, replicas: Replicas
) -> None:
    sick, *others = replicas(3)
    gate = await started(gateway, [sick, *others], strategy="round-robin", **QUICK)

    await order(gate, sick, "status_500")
    await eventually(lambda: has_health(gate, sick, "unhealthy"))
    before = (await shown(gate))[sick]["attempts"]
    assert [await called(gate) for _ in range(12)] == [200] * 12
    state = (await shown(gate))[sick]
    assert state["attempts"] == before and not state["used"]
    assert "3 bad health checks in a row" in state["reason"]

    await order(gate, sick, None)
    await eventually(lambda: has_health(gate, sick, "healthy"))
    for _ in range(6):
        await called(gate)
    assert (await shown(gate))[sick]["attempts"] == before + 2


async def test_a_replica_that_hangs_fails_its_checks(gateway: StartGateway, replicas: Replicas) -> None:
    sick, *others = replicas(3)
    gate = await started(gateway, [sick, *others], health_timeout=0.05, **QUICK)

    await order(gate, sick, "hang")

    await eventually(lambda: has_health(gate, sick, "unhealthy"))
    assert "no answer within 0.05 s" in (await shown(gate))[sick]["reason"]


async def test_checks_never_call_a_tool(gateway: StartGateway, replicas: Replicas) -> None:
    urls = replicas(2)
    gate = await started(gateway, urls, **QUICK)
    unused = urls[1]  # discovery uses the first

    await eventually(lambda: asked(gate, unused, 12))

    assert set(await methods(gate, unused)) <= PROBES


async def asked(gate: RunningGateway, url: str, count: int) -> bool:
    return len(await methods(gate, url)) >= count


async def test_calls_that_fail_make_a_replica_unhealthy_at_once(gateway: StartGateway, replicas: Replicas) -> None:
    sick, *others = replicas(3)
    gate = await started(gateway, [sick, *others], strategy="round-robin", fault_limit=2)
    await order(gate, sick, "bad_json", "tools/call")

    outcomes = [await called(gate) for _ in range(9)]

    assert len([each for each in outcomes if each != 200]) <= 2
    state = (await shown(gate))[sick]
    assert state["health"] == "unhealthy" and "2 calls in a row failed" in state["reason"]


async def test_a_replica_that_is_gone_costs_no_call(gateway: StartGateway, replicas: Replicas, tmp_path: Path) -> None:
    with running.raw_upstream(tmp_path) as gone:
        gate = await started(gateway, [gone, *replicas(1)], strategy="round-robin", **QUICK)
        assert [await called(gate) for _ in range(4)] == [200] * 4

    assert [await called(gate) for _ in range(8)] == [200] * 8
    await eventually(lambda: has_health(gate, gone, "unhealthy"))
    assert [await called(gate) for _ in range(4)] == [200] * 4


async def test_no_more_checks_run_at_once_than_allowed(gateway: StartGateway, replicas: Replicas) -> None:
    first, second = replicas(2)
    gate = await started(gateway, [first, second], health_concurrency=1, health_timeout=60, **QUICK)
    counts: list[int] = []

    async def is_left_alone() -> bool:
        counts.append(len(await methods(gate, second)))
        return len(counts) > 25 and counts[-1] == counts[-25]  # each 10 ms or more, so five intervals

    await order(gate, first, "hang")

    assert await eventually(is_left_alone)


async def test_a_gateway_after_a_reload_knows_what_the_one_before_knew(
    gateway: StartGateway, replicas: Replicas
) -> None:
    urls = replicas(2)
    gate = await started(gateway, urls, strategy="round-robin")
    assert [await called(gate) for _ in range(6)] == [200] * 6
    kernel, settings, random = gate.gateway.kernel, BalancerSettings(), Random(1)
    newer = AdaptiveBalancer(kernel.catalog, kernel.clock, settings, random)

    async with HealthChecks(kernel, newer, settings, random).run():
        assert [newer.pools["many"].replicas[url].attempts for url in urls] == [3, 3]


async def test_a_principal_stays_at_one_replica(gateway: StartGateway, replicas: Replicas) -> None:
    urls = replicas(3)
    gate = await started(gateway, urls, upstreams={"many": {"strategy": "hash", "key": "principal"}})
    headers = {"authorization": f"Bearer {gate.token}"}

    assert [await called(gate, headers=headers) for _ in range(6)] == [200] * 6

    assert sorted(each["attempts"] for each in (await shown(gate)).values()) == [0, 0, 6]


async def test_replicas_come_and_go_at_run_time(gateway: StartGateway, replicas: Replicas) -> None:
    first, second, third = replicas(3)
    gate = await gateway(enable=["balancer"], plugins={"balancer": {"strategy": "round-robin"}})
    many: dict[str, Any] = {"name": "many", "kind": "http", "endpoints": [first, second], "allow_private": True}
    assert (await gate.api("POST", "/upstreams", many)).status == 201
    await gate.api("POST", "/servers", {"name": "open", "include": ["many/*"], "access": "public"})
    await eventually(lambda: gate.gateway.plane.view("open").listed("tool"))
    assert [await called(gate) for _ in range(4)] == [200] * 4

    assert (await gate.api("PUT", "/upstreams/many", {**many, "endpoints": [second, third]})).status == 200

    await eventually(lambda: gate.gateway.plane.view("open").listed("tool"))
    found = await shown(gate)
    assert set(found) == {second, third}
    assert found[second]["attempts"] == 2 and found[second]["share"] == 1
    assert found[third]["attempts"] == 0 and found[third]["share"] < 1
    assert [await called(gate) for _ in range(4)] == [200] * 4
    assert (await gate.api("DELETE", "/upstreams/many")).status in (200, 204)
    assert await shown(gate) == {}


async def test_without_the_plugin_there_is_no_such_collection(gateway: StartGateway) -> None:
    gate = await gateway()

    assert (await gate.api("GET", "/endpoints")).status == 404


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"strategy": "fastest"}, "strategy"),
        ({"upstreams": {"many": {"key": "cookie"}}}, "upstreams.many.key"),
        ({"upstreams": {"many": {"weights": {"http://a": -1}}}}, "weights"),
        ({"health_jitter": 1}, "health_jitter"),
    ],
)
async def test_settings_that_make_no_sense_are_refused(
    gateway: StartGateway, settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        await gateway(enable=["balancer"], plugins={"balancer": settings})


async def test_the_command_shows_the_endpoints(
    gateway: StartGateway, replicas: Replicas, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = replicas(2)
    gate = await started(gateway, urls)

    def typed(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["toolway", "--url", gate.url, "--token", gate.token, *arguments])
        with pytest.raises(SystemExit) as ended:
            run()
        return int(ended.value.code or 0)

    assert await asyncio.to_thread(typed, "endpoints", "--json") == 0
    assert [each["endpoint"] for each in json.loads(capsys.readouterr().out)] == sorted(urls)
    assert await asyncio.to_thread(typed, "endpoints", "--upstream", "other", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


async def test_replicas_that_become_unhealthy_are_counted(gateway: StartGateway, replicas: Replicas) -> None:
    sick, well = replicas(2)
    gate = await started(gateway, [sick, well], **QUICK)
    await order(gate, sick, "status_500")

    await eventually(lambda: has_health(gate, sick, "unhealthy"))

    assert counted(gate, "toolway_balancer_unhealthy", "many", sick) == 1
    assert counted(gate, "toolway_balancer_unhealthy", "many", well) == 0
    assert (counted(gate, "toolway_balancer_ejections_total", "many", sick) or 0) >= 1
