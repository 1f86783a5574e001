"""Every request is one trace, which begins with the client and goes on in the upstream."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from receiver import Receiver

from toolway.hookspecs.routing import Call
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually
from toolway_testing.uncollected import without_collector

RAW = Path(__file__).resolve().parents[3] / "tests/fixtures/raw_upstream.py"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
TOOL = "up__result_raw"
SERVERS = [{"name": "all", "include": ["*/*"], "access": "public"}]


@pytest.fixture
async def upstream() -> Any:
    """The address of one that keeps what it gets."""
    with subprocess.Popen([sys.executable, str(RAW)], stdout=subprocess.PIPE) as process:  # noqa: ASYNC220
        try:
            assert process.stdout is not None
            yield process.stdout.readline().decode().split()[-1]
        finally:
            process.terminate()


async def started(gateway: StartGateway, receiver: Receiver, url: str, **settings: Any) -> RunningGateway:
    table = {"name": "up", "kind": "http", "endpoints": [url], "allow_private": True, "retries": 0}
    known = {"endpoint": f"http://127.0.0.1:{receiver.http}", "sample_ratio": 0, "metrics_interval": 0.2, **settings}
    gate = await gateway(enable=["otel"], plugins={"otel": known}, upstreams=[table], servers=SERVERS)
    await eventually(lambda: TOOL in {each.name for each in gate.gateway.plane.view("all").listed("tool")})
    return gate


async def call(gate: RunningGateway, result: Any = None, meta: Any = None, **headers: str) -> Any:
    arguments = {"result": result or {"content": [], "resultType": "complete"}}
    params = {"name": TOOL, "arguments": arguments, "_meta": meta or {}}
    return await gate.mcp("tools/call", params, headers=headers)


async def last_call(url: str) -> Any:
    async with aiohttp.ClientSession() as http, http.get(url.removesuffix("/mcp") + "/_requests") as answer:
        found = [each for each in await answer.json() if each["rpc"] == "tools/call"][-1]
    meta = json.loads(found["body"])["params"]["_meta"]
    return meta, {name.lower(): value for name, value in dict(found["headers"]).items()}


async def spans(receiver: Receiver, count: int) -> list[dict[str, Any]]:
    await eventually(lambda: len(receiver.spans) >= count)
    return sorted(receiver.spans, key=lambda each: each["start"])


async def test_a_call_that_is_traced_is_freed_without_the_collector(
    gateway: StartGateway, receiver: Receiver, upstream: str
) -> None:
    gate = await started(gateway, receiver, upstream)
    await call(gate, traceparent=PARENT)

    with without_collector(Call) as left:
        for _ in range(5):
            await call(gate, traceparent=PARENT)

        await eventually(lambda: left() <= 1)  # a timer may have the context of the last request


async def test_a_sampled_call_is_a_trace_of_three_spans_and_goes_on_upstream(
    gateway: StartGateway, receiver: Receiver, upstream: str
) -> None:
    gate = await started(gateway, receiver, upstream)

    await call(gate, traceparent=PARENT, tracestate="vendor=1", baggage="user=7")

    request, whole, attempt = await spans(receiver, 3)
    assert {each["trace"] for each in (request, whole, attempt)} == {TRACE}
    assert (request["parent"], whole["parent"], attempt["parent"]) == (SPAN, request["id"], whole["id"])
    assert [each["kind"] for each in (request, whole, attempt)] == ["server", "server", "client"]
    assert request["name"] == "POST /servers/{server}/mcp"
    assert whole["name"] == "tools/call result_raw"
    assert request["attributes"]["http.response.status_code"] == 200
    assert request["events"] == ["authenticated"]
    assert whole["attributes"]["gen_ai.tool.name"] == "result_raw"
    assert attempt["attributes"]["toolway.endpoint"] == upstream
    assert request["resource"]["service.name"] == "toolway"
    meta, headers = await last_call(upstream)
    wanted = f"00-{TRACE}-{attempt['id']}-01"
    assert (headers["traceparent"], headers["tracestate"], headers["baggage"]) == (wanted, "vendor=1", "user=7")
    assert meta["traceparent"] == wanted


async def test_a_trace_may_begin_in_the_meta_of_a_message(
    gateway: StartGateway, receiver: Receiver, upstream: str
) -> None:
    gate = await started(gateway, receiver, upstream)

    await call(gate, meta={"traceparent": PARENT, "tracestate": "vendor=2"})

    request, _, attempt = await spans(receiver, 3)
    assert (request["trace"], request["parent"]) == (TRACE, SPAN)
    meta, _ = await last_call(upstream)
    assert meta["traceparent"] == f"00-{TRACE}-{attempt['id']}-01"
    assert meta["tracestate"] == "vendor=2"


async def test_another_trace_in_the_meta_is_linked(gateway: StartGateway, receiver: Receiver, upstream: str) -> None:
    gate = await started(gateway, receiver, upstream)
    other = "1" * 32

    await call(gate, meta={"traceparent": f"00-{other}-{SPAN}-01"}, traceparent=PARENT)

    _, whole, _ = await spans(receiver, 3)
    assert (whole["trace"], whole["links"]) == (TRACE, [other])


@pytest.mark.parametrize("odd", ["", "00-0-0-01", f"ff-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", "x" * 4000])
async def test_what_is_no_context_begins_a_trace_of_its_own(
    gateway: StartGateway, receiver: Receiver, upstream: str, odd: str
) -> None:
    gate = await started(gateway, receiver, upstream, sample_ratio=1)

    await call(gate, meta={"traceparent": odd, "tracestate": 7}, traceparent=odd)

    request, *_ = await spans(receiver, 3)
    assert request["trace"] != TRACE
    assert request["parent"] == ""


async def test_what_is_not_sampled_is_kept_only_if_it_failed_or_was_slow(
    gateway: StartGateway, receiver: Receiver, upstream: str
) -> None:
    gate = await started(gateway, receiver, upstream)
    await call(gate)
    await call(gate, traceparent=PARENT[:-1] + "0")
    await call(gate, {"content": [{"type": "text", "text": "no"}], "isError": True, "resultType": "complete"})

    _, whole, _ = await spans(receiver, 3)
    assert len(receiver.spans) == 3
    assert (whole["is_error"], whole["attributes"]["error.type"]) == (True, "tool_error")
    meta, _ = await last_call(upstream)
    assert "traceparent" not in meta, "nobody is going to see it"


async def test_upstreams_get_the_decision_of_the_beginning(
    gateway: StartGateway, receiver: Receiver, upstream: str
) -> None:
    gate = await started(gateway, receiver, upstream, propagate="always")
    await call(gate)
    meta, _ = await last_call(upstream)
    assert meta["traceparent"].endswith("-00")

    await call(gate, traceparent=PARENT[:-1] + "0")
    meta, headers = await last_call(upstream)
    assert meta["traceparent"] == headers["traceparent"]
    assert (meta["traceparent"][3:35], meta["traceparent"][-2:]) == (TRACE, "00")


async def test_slow_ones_are_kept(gateway: StartGateway, receiver: Receiver, upstream: str) -> None:
    gate = await started(gateway, receiver, upstream, keep_slower=0.0001)

    await call(gate)

    assert len(await spans(receiver, 3)) == 3


async def test_streams_are_not_kept_for_being_open_long(
    gateway: StartGateway, receiver: Receiver, upstream: str
) -> None:
    gate = await started(gateway, receiver, upstream, keep_slower=0.0001)
    url, version = f"{gate.url}/servers/all/mcp", {"mcp-protocol-version": "2025-11-25"}
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    both = {"accept": "application/json, text/event-stream"}
    async with gate.http.post(url, json=message, headers=both) as opened:
        session = {"mcp-session-id": opened.headers["mcp-session-id"]}
    async with gate.http.get(url, headers={**version, **session, "accept": "text/event-stream"}) as stream:
        assert stream.status == 200
    await call(gate)

    found = await spans(receiver, 4)
    assert {each["name"] for each in found if not each["parent"]} == {"POST /servers/{server}/mcp"}


async def test_lists_and_the_api_are_traces_too(gateway: StartGateway, receiver: Receiver, upstream: str) -> None:
    gate = await started(gateway, receiver, upstream, sample_ratio=1)
    await gate.mcp("tools/list")
    await gate.api("GET", "/upstreams/up")

    one, two = await spans(receiver, 2)
    assert (one["name"], one["attributes"]["mcp.method.name"]) == ("POST /servers/{server}/mcp", "tools/list")
    assert two["name"] == "GET /api/v1/upstreams/{name}"
    assert two["attributes"]["toolway.principal"] == "admin"


async def test_a_resolved_secret_is_in_no_span(
    gateway: StartGateway, receiver: Receiver, upstream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUSH", "s3cret-value-of-it")
    gate = await started(gateway, receiver, upstream, headers={"authorization": "env:HUSH"})
    fault = {"error": {"code": -32000, "message": "the key s3cret-value-of-it is wrong"}}
    async with gate.http.put(
        upstream.removesuffix("/mcp") + "/_order", json={"trick": "status_500", "method": "tools/call", "times": 1}
    ):
        pass
    await call(gate, fault, traceparent=PARENT)

    await spans(receiver, 3)
    assert "s3cret" not in str(receiver.spans)
    assert receiver.headers[-1]["authorization"] == "s3cret-value-of-it"
