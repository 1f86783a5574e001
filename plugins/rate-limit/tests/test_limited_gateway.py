"""The plugin in a gateway: refusals on the wire in both eras, the API, load shedding, settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from limited import admitted, call
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from toolway.edge.metrics import Instruments
from toolway.keep import Keeper
from toolway.plugin import ConfigError
from toolway_rate_limit.limiter import Limiter
from toolway_rate_limit.parts import Parts
from toolway_rate_limit.settings import RateLimitSettings
from toolway_testing.clock import MovedClock
from toolway_testing.counted import counted
from toolway_testing.gateway import Answer, RunningGateway, StartGateway
from toolway_testing.polling import eventually

SECONDS = 20.0
SERVERS = [{"name": name, "include": ["demo/*"], "access": "public"} for name in ("one", "two")]
both_eras = pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])


async def started(gateway: StartGateway, *rules: dict[str, Any], **settings: Any) -> RunningGateway:
    """A gateway with these rules in front of the demo server, once that is there."""
    plugins = {"rate-limit": {"rules": list(rules), **settings}}
    gate = await gateway(enable=["rate-limit"], plugins=plugins, servers=SERVERS, demo=True)
    await eventually(lambda: has_tools(gate), SECONDS)
    return gate


async def has_tools(gate: RunningGateway) -> bool:
    answer = await gate.mcp("tools/list", server="one")
    return answer.status == 200 and bool(answer.content["result"]["tools"])


async def echo(gate: RunningGateway, server: str = "one") -> Answer:
    return await gate.call("demo__echo", {"text": "hello"}, server=server)


async def state(gate: RunningGateway) -> Any:
    return (await gate.api("GET", "/rate-limits")).content


@asynccontextmanager
async def client(gate: RunningGateway, mode: str, heard: list[httpx2.Response]) -> AsyncIterator[Client]:
    """The SDK's client; every HTTP answer is `heard`."""

    async def hear(response: httpx2.Response) -> None:
        heard.append(response)

    async with httpx2.AsyncClient(timeout=10, event_hooks={"response": [hear]}) as http:
        transport = streamable_http_client(f"{gate.url}/servers/one/mcp", http_client=http)
        async with Client(transport, mode=mode, cache=None) as found:
            yield found


@both_eras
async def test_a_client_that_calls_too_often_gets_429_with_the_time_to_wait(gateway: StartGateway, mode: str) -> None:
    gate = await started(gateway, {"name": "callers", "rate": "2/h"})
    heard: list[httpx2.Response] = []

    async with client(gate, mode, heard) as caller:
        for _ in range(4):
            result = await caller.call_tool("demo__echo", {"text": "hello"})
            assert result.content[0].text == "hello"  # type: ignore[union-attr]
        with pytest.raises(MCPError, match="rule 'callers' allows 2 calls per hour for each principal") as refused:
            await caller.call_tool("demo__echo", {"text": "hello"})
        assert (await caller.list_tools()).tools

    rests = ["r=3", "r=2", "r=1", "r=0;t=1800"]
    told = [response.headers for response in heard if "ratelimit" in response.headers and response.is_success]
    assert [each["ratelimit"] for each in told] == [f'"callers";{rest}' for rest in rests]
    assert {each["ratelimit-policy"] for each in told} == {'"callers";q=2;w=3600'}
    last = next(response for response in heard if response.status_code == 429)
    assert 1790 < int(last.headers["retry-after"]) <= 1800
    assert last.headers["ratelimit-policy"] == '"callers";q=2;w=3600'
    assert last.headers["ratelimit"] == f'"callers";r=0;t={last.headers["retry-after"]}'
    assert (await state(gate))["rules"][0]["emptiest"] == [{"key": "anonymous@127.0.0.1", "count": 0}]
    data = refused.value.error.data
    assert data["code"] == "rate_limited" and 1790 < data["retryAfter"] <= 1800


async def test_a_refusal_on_the_wire_is_an_error_of_the_request(gateway: StartGateway) -> None:
    gate = await started(gateway, {"name": "callers", "rate": "1/h", "burst": 1})
    await echo(gate)

    refused = await echo(gate)

    assert (refused.status, refused.content["id"], refused.content["error"]["code"]) == (429, 1, -32603)
    assert refused.content["error"]["data"]["code"] == "rate_limited"


async def test_servers_have_counts_of_their_own(gateway: StartGateway) -> None:
    gate = await started(gateway, {"name": "servers", "by": "server", "rate": "1/h", "burst": 2})

    assert [(await echo(gate)).status for _ in range(3)] == [200, 200, 429]
    assert (await echo(gate, "two")).status == 200


async def test_the_other_methods_are_calls_too_and_lists_are_none(gateway: StartGateway) -> None:
    gate = await started(gateway, {"name": "all", "by": "global", "rate": "1/h", "burst": 3})
    read = await gate.mcp("resources/read", {"uri": "demo://about"}, server="one")
    prompt = await gate.mcp("prompts/get", {"name": "demo__greet", "arguments": {"name": "x"}}, server="one")

    assert [read.status, prompt.status, (await echo(gate)).status, (await echo(gate)).status] == [200, 200, 200, 429]
    assert await has_tools(gate)


async def test_calls_at_once_are_limited(gateway: StartGateway) -> None:
    gate = await started(gateway, {"name": "few", "by": "global", "concurrent": 2})

    answers = await asyncio.gather(*(echo(gate) for _ in range(40)))

    statuses = {answer.status for answer in answers}
    assert statuses == {200, 429}
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.headers["ratelimit-policy"] == '"few";q=2;qu="concurrent-requests"'
    assert (await echo(gate)).status == 200


async def test_the_api_shows_who_uses_most_and_what_was_refused(gateway: StartGateway) -> None:
    rules: list[dict[str, Any]] = [
        {"name": "callers", "rate": "1/h", "burst": 3},
        {"name": "tools", "by": ["server", "tool"], "concurrent": 5},
    ]
    gate = await started(gateway, *rules)
    for _ in range(5):
        await echo(gate)

    shown = await state(gate)

    callers, tools = shown["rules"]
    assert (callers["rate"], callers["burst"], callers["refused"]) == ("1/h", 3, 2)
    assert callers["emptiest"] == [{"key": "anonymous@127.0.0.1", "count": 0}]
    assert (tools["by"], tools["concurrent"], tools["fullest"]) == (["server", "tool"], 5, [])
    assert (shown["counted"], shown["nodes"], shown["load"]["enabled"]) == ("alone", 1, True)
    assert (await gate.api("GET", "/rate-limits", token="wrong")).status == 401


async def test_under_overload_what_is_less_important_gives_way(gateway: StartGateway) -> None:
    shedding = {"lag": 0.06, "first": [{"servers": ["one"]}], "last": [{"servers": ["two"]}]}
    gate = await started(gateway, shedding=shedding)
    burning = asyncio.create_task(burn())

    shed = await eventually(lambda: refused_or_none(gate, "one"), SECONDS)
    important = await echo(gate, "two")
    burning.cancel()

    assert (shed.status, shed.content["error"]["data"]["code"]) == (503, "overloaded")
    assert 1 <= int(shed.headers["retry-after"]) <= 5
    assert important.status == 200
    async with gate.http.get(f"{gate.url}/health") as health:
        assert health.status == 200
    load = (await state(gate))["load"]
    assert load["lag"] > 0.06 and load["shed"]["first"] >= 1 and load["shed"]["last"] == 0
    await eventually(lambda: is_calm(gate), SECONDS)
    assert (await echo(gate)).status == 200


async def burn() -> None:
    """Keep the event loop of the gateway busy, a tenth of a second at a time."""
    while True:
        end = monotonic() + 0.1
        while monotonic() < end:
            pass
        await asyncio.sleep(0.001)


async def refused_or_none(gate: RunningGateway, server: str) -> Answer | None:
    answer = await echo(gate, server)
    return None if answer.status == 200 else answer


async def is_calm(gate: RunningGateway) -> bool:
    return bool((await state(gate))["load"]["level"] == 0)


async def test_a_reload_gives_nobody_a_new_burst() -> None:
    keeper, clock = Keeper(), MovedClock()
    settings = RateLimitSettings.model_validate({"rules": [{"name": "callers", "rate": "1/h", "burst": 5}]})
    changed = RateLimitSettings.model_validate({"rules": [{"name": "callers", "rate": "1/h", "burst": 6}]})
    async with reloaded(keeper, clock, settings) as before:
        assert await admitted(before, *[call()] * 3) == 3

        async with reloaded(keeper, clock, settings) as after, reloaded(keeper, clock, changed) as other:
            assert await admitted(after, *[call()] * 5) == 2
            assert await admitted(other, *[call()] * 10) == 6


@asynccontextmanager
async def reloaded(keeper: Keeper, clock: MovedClock, settings: RateLimitSettings) -> AsyncIterator[Limiter]:
    """The next gateway of this process, as far as it counts."""
    holder = keeper.holder()
    kernel: Any = SimpleNamespace(clock=clock, keep=holder.keep, metrics=Instruments())
    parts = Parts.of(kernel, settings)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(holder.release)
        for service in parts.services:
            await stack.enter_async_context(service.run())
        yield parts.limiter


async def test_load_shedding_can_be_switched_off(gateway: StartGateway) -> None:
    gate = await started(gateway, shedding={"enabled": False, "lag": 0.0001, "in_flight": 1})

    assert {answer.status for answer in await asyncio.gather(*(echo(gate) for _ in range(30)))} == {200}
    assert (await state(gate))["load"] == {"enabled": False, "level": 0, "lag": 0, "in_flight": 0, "shed": {}}


async def test_without_the_plugin_nothing_is_limited(gateway: StartGateway) -> None:
    gate = await gateway(servers=SERVERS, demo=True)
    await eventually(lambda: has_tools(gate), SECONDS)

    assert {answer.status for answer in await asyncio.gather(*(echo(gate) for _ in range(30)))} == {200}
    assert (await gate.api("GET", "/rate-limits")).status == 404


async def test_settings_that_cannot_be_kept_are_told_at_the_start(gateway: StartGateway) -> None:
    rules = [{"name": "x", "rate": "600 per minute"}]

    with pytest.raises(ConfigError, match="'600 per minute' is no rate; write a number of calls and a unit"):
        await gateway(enable=["rate-limit"], plugins={"rate-limit": {"rules": rules}})


async def test_refusals_are_counted_by_rule(gateway: StartGateway) -> None:
    rules = {"name": "few", "rate": "2/h", "burst": 2}, {"name": "many", "rate": "100/s"}
    gate = await started(gateway, *rules)

    for _ in range(5):
        await echo(gate)

    refused = [counted(gate, "toolway_rate_limit_refusals_total", rule) for rule in ("few", "many")]
    assert refused == [3, 0]
    assert counted(gate, "toolway_calls_shed_total", "normal") == 0
