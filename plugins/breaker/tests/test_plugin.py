"""The plugin in a whole gateway, in front of upstreams that misbehave on order."""

from __future__ import annotations

import asyncio
import statistics
from time import perf_counter
from typing import Any

import pytest
from misbehaving import FAULT, GOOD, Scripted, call, circuit, equals, report, started

from toolway.plugin import ConfigError
from toolway_testing.counted import counted
from toolway_testing.gateway import StartGateway
from toolway_testing.polling import eventually

LEGACY = "2025-11-25"


async def test_five_faults_open_the_circuit_and_calls_are_refused_with_the_reason(
    gateway: StartGateway, upstream: Scripted
) -> None:
    gate = await started(gateway, upstream)
    await upstream.order(FAULT)

    assert [await call(gate) for _ in range(5)] == ["upstream_failed"] * 5
    answer = await gate.call("up__result_raw", GOOD)

    assert answer.status == 503 and 5 <= int(answer.headers["retry-after"]) <= 8
    error = answer.content["error"]
    assert error["data"]["code"] == "circuit_open" and 4 < error["data"]["retryAfter"] <= 7.5
    assert "upstream 'up' is not tried now: its circuit is open (5 faults in a row" in error["message"]
    assert "it is tried again in" in error["message"]
    assert await upstream.calls() == 5
    assert "result" in (await gate.call("demo__echo", {"text": "others are not touched"})).content


async def test_an_open_circuit_answers_in_less_than_five_milliseconds(
    gateway: StartGateway, upstream: Scripted
) -> None:
    gate = await started(gateway, upstream)
    await gate.api("POST", "/breakers/up/open", {})
    seconds = []

    for _ in range(300):
        begun = perf_counter()
        assert await call(gate) == "circuit_open"
        seconds.append(perf_counter() - begun)

    assert statistics.median(seconds) < 0.005


async def test_single_calls_find_out_that_it_is_well_again(gateway: StartGateway, upstream: Scripted) -> None:
    gate = await started(gateway, upstream, limits={"open_time": 0.05, "max_open_time": 0.1})
    await upstream.order(FAULT, times=5)
    for _ in range(5):
        await call(gate)

    async def is_called() -> bool:
        return await call(gate) == "good"

    await eventually(is_called)
    assert (await circuit(gate))["state"] == "half-open"
    assert await call(gate) == "good"
    assert (await circuit(gate))["state"] == "closed" and await upstream.calls() == 7


@pytest.mark.parametrize("trick", ["unauthorized", "secret_error", "session_lost"])
async def test_errors_that_do_not_show_an_ill_endpoint_open_nothing(
    gateway: StartGateway, upstream: Scripted, trick: str
) -> None:
    gate = await started(gateway, upstream)
    await upstream.order(trick)

    assert "circuit_open" not in [await call(gate) for _ in range(10)]

    assert (await circuit(gate))["faults"] == 0 and await upstream.calls() >= 10


async def test_errors_of_tools_open_nothing(gateway: StartGateway, upstream: Scripted) -> None:
    gate = await started(gateway, upstream)
    failed = {"content": [{"type": "text", "text": "no"}], "isError": True, "resultType": "complete"}

    assert [await call(gate, failed) for _ in range(25)] == ["good"] * 25

    assert await circuit(gate) | {"state": "closed", "faults": 0} == await circuit(gate)


async def test_calls_that_clients_give_up_open_nothing(gateway: StartGateway, upstream: Scripted) -> None:
    gate = await started(gateway, upstream)
    await upstream.order("hang")

    waiting = [asyncio.create_task(call(gate)) for _ in range(8)]
    await eventually(lambda: equals(upstream.calls(), 8))
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await upstream.order(None)

    assert await call(gate) == "good"
    assert (await circuit(gate))["faults"] == 0


@pytest.mark.parametrize("timeouts", [{"total": 0.1}, {"first_byte": 0.1}])
async def test_an_upstream_that_hangs_opens_it(
    gateway: StartGateway, upstream: Scripted, timeouts: dict[str, float]
) -> None:
    gate = await started(gateway, upstream, limits={"faults": 2}, timeouts=timeouts)
    await upstream.order("hang")

    assert [await call(gate) for _ in range(3)] == ["upstream_timeout", "upstream_timeout", "circuit_open"]

    assert "timeout" in (await circuit(gate))["reason"]


@pytest.mark.parametrize("trick", ["bad_json", "foreign_id", "html", "drop", "drop_in_body", "huge", "redirect"])
async def test_an_upstream_that_lies_opens_it(gateway: StartGateway, upstream: Scripted, trick: str) -> None:
    gate = await started(gateway, upstream, limits={"faults": 2})
    await upstream.order(trick)

    codes = [await call(gate) for _ in range(3)]

    assert codes[2] == "circuit_open" and "circuit_open" not in codes[:2]


async def test_what_the_upstream_asks_for_with_retry_after_is_obeyed_and_told(
    gateway: StartGateway, upstream: Scripted
) -> None:
    gate = await started(gateway, upstream)
    await upstream.order("status_503", times=1)

    assert [await call(gate), await call(gate)] == ["upstream_failed", "circuit_open"]

    state = await circuit(gate)
    assert state["state"] == "open" and 0 < state["retry_in"] <= 1
    assert state["reason"] == "it asked to be left alone (Retry-After)"


async def test_of_two_endpoints_the_one_that_fails_is_ejected(gateway: StartGateway, pair: list[Scripted]) -> None:
    gate = await started(gateway, *pair, limits={"open_time": 0.01, "max_open_time": 0.01, "obey_retry_after": False})
    ill, well = pair
    await ill.order(FAULT)

    for _ in range(30):
        await call(gate)
    reached = await ill.calls()
    for _ in range(10):
        assert await call(gate) == "good"

    assert reached == await ill.calls() == 5
    endpoints = {each["endpoint"]: each for each in (await report(gate))["endpoints"]}
    assert 23 < endpoints[ill.url]["ejected_for"] <= 36 and endpoints[well.url]["ejected_for"] == 0


async def test_with_half_of_the_endpoints_ejected_the_last_one_is_not(
    gateway: StartGateway, pair: list[Scripted]
) -> None:
    gate = await started(gateway, *pair, limits={"faults": 1000, "fault_rate": 1, "minimum_calls": 1000})
    for each in pair:
        await each.order(FAULT)

    for _ in range(30):
        assert await call(gate) == "upstream_failed"

    assert sorted(each["ejections"] for each in (await report(gate))["endpoints"]) == [0, 1]


async def test_settings_that_contradict_each_other_are_refused(gateway: StartGateway) -> None:
    with pytest.raises(ConfigError, match="open_time is longer than max_open_time"):
        await gateway(enable=["breaker"], plugins={"breaker": {"open_time": 90}})


async def test_sessions_of_the_handshake_era_are_refused_too(gateway: StartGateway, pair: list[Scripted]) -> None:
    gate = await started(gateway, *pair)
    hello = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    headers = {"accept": "application/json, text/event-stream"}

    async def ask(method: str, params: dict[str, Any]) -> tuple[str, str]:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with gate.http.post(f"{gate.url}/mcp", json=message, headers=headers) as response:
            return response.headers.get("mcp-session-id", ""), await response.text()

    headers |= {"mcp-session-id": (await ask("initialize", hello))[0], "mcp-protocol-version": LEGACY}
    params = {"name": "up__result_raw", "arguments": {"result": {"content": []}}}
    assert '"result"' in (await ask("tools/call", params))[1]
    await gate.api("POST", "/breakers/up/open", {})

    assert "circuit_open" in (await ask("tools/call", params))[1]


async def test_open_circuits_are_counted_and_forgotten_with_their_upstream(
    gateway: StartGateway, upstream: Scripted
) -> None:
    gate = await started(gateway, upstream)
    assert await call(gate) == "good"
    labels = "up", upstream.url
    assert counted(gate, "toolway_breaker_open", *labels) == 0

    await upstream.order(FAULT)
    for _ in range(5):
        await call(gate)
    assert counted(gate, "toolway_breaker_open", *labels) == 1
    assert counted(gate, "toolway_breaker_trips_total", *labels) == 1

    await (await gate.life.prepare()).cancel()
    assert counted(gate, "toolway_breaker_open", *labels) == 1, "of the gateway that serves, not of one that was built"

    await gate.reload(upstreams=())
    assert counted(gate, "toolway_breaker_open", *labels) is None
