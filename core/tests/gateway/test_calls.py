"""Calls through a whole gateway in front of the demo server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from toolway.errors import PluginError
from toolway.gateway.dispatch import compile_chain
from toolway.hookspecs.routing import Call, CallNext, Reply
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

LEGACY = "2025-11-25"
ACCEPT = {"accept": "application/json, text/event-stream"}


@pytest.fixture
async def gate(gateway: StartGateway) -> RunningGateway:
    """A gateway whose demo server has been discovered."""
    running = await gateway(demo=True)
    await eventually(lambda: running.gateway.plane.view("all").listed("tool"))
    return running


async def initialized(gate: RunningGateway, server: str = "all") -> dict[str, str]:
    """The headers of a new legacy session."""
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    async with gate.http.post(f"{gate.url}/servers/{server}/mcp", json=message, headers=ACCEPT) as response:
        return {**ACCEPT, "mcp-session-id": response.headers["mcp-session-id"], "mcp-protocol-version": LEGACY}


async def test_two_credentials_of_one_kind_are_refused(gate: RunningGateway) -> None:
    headers = [*ACCEPT.items(), ("authorization", "Bearer a"), ("authorization", "Bearer b")]

    async with gate.http.post(f"{gate.url}/mcp", json={}, headers=headers) as response:
        assert response.status == 400
        problem = await response.json()
    assert (problem["code"], problem["detail"]) == ("repeated_header", "The header authorization may occur only once.")


async def test_a_header_in_two_lines_is_one_list(gate: RunningGateway) -> None:
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    headers = [("accept", "application/json"), ("accept", "text/event-stream")]

    async with gate.http.post(f"{gate.url}/mcp", json=message, headers=headers) as response:
        assert response.status == 200, "RFC 9110 section 5.3"


async def test_a_session_is_unknown_on_another_server_and_without_its_record(gate: RunningGateway) -> None:
    headers = await initialized(gate)
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    sessions = gate.gateway.plane.sessions

    async with gate.http.post(f"{gate.url}/mcp", json=ping, headers=headers) as response:
        assert response.status == 200
    (session,) = sessions._by_id.values()
    sessions._close(session)
    await gate.gateway.kernel.keyvalue.delete(f"session:{session.id}")
    async with gate.http.post(f"{gate.url}/mcp", json=ping, headers=headers) as response:
        assert response.status == 404


async def test_a_stream_that_is_not_kept_any_more_is_refused_and_the_general_one_resumed(gate: RunningGateway) -> None:
    headers = await initialized(gate)
    async with gate.http.get(f"{gate.url}/mcp", headers=headers) as response:
        event = (await response.content.readuntil(b"\n\n")).decode()
    last = event.split("id: ")[1].split("\n")[0]
    (session,) = gate.gateway.plane.sessions._by_id.values()
    await eventually(lambda: not session.attached)
    session.notify("notifications/message", {})

    async with gate.http.get(f"{gate.url}/mcp", headers={**headers, "last-event-id": last}) as response:
        await response.content.readuntil(b"\n\n")
        assert b"notifications/message" in await response.content.readuntil(b"\n\n")


async def test_draining_ends_a_subscription_with_its_response(gate: RunningGateway) -> None:
    listening = asyncio.create_task(gate.mcp("subscriptions/listen", {"notifications": {"toolsListChanged": True}}))
    await eventually(lambda: gate.gateway.plane.streams.open)

    await gate.gateway.drain()

    events = [json.loads(line[6:]) for line in (await listening).content.splitlines() if line.startswith("data: ")]
    assert events[0]["method"] == "notifications/subscriptions/acknowledged"
    assert events[-1]["result"]["resultType"] == "complete"


async def test_an_unexpected_failure_is_an_error_id_and_nothing_else(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("the secret is xyzzy")

    monkeypatch.setattr(gate.gateway.plane.dispatch, "_route", fail)

    answer = await gate.call("demo__echo", {"text": "hello"})

    error = answer.content["error"]
    assert "xyzzy" not in json.dumps(error)
    assert error["data"]["errorId"] in caplog.text


@pytest.mark.parametrize("arguments", ['{"n":1e999}', '{"n":' + "9" * 5000 + "}", "[]", "null", '"text"'])
async def test_arguments_that_nobody_can_read_are_refused_where_they_must_be_read(
    gateway: StartGateway, arguments: str
) -> None:
    fixed = {"name": "fixed", "items": {"demo/echo": {"arguments": {"text": "by the operator"}}}}
    gate = await gateway(demo=True, servers=[{**fixed, "access": "public"}])
    await eventually(lambda: gate.gateway.plane.view("fixed").listed("tool"))
    headers = {**await initialized(gate, "fixed"), "content-type": "application/json"}
    params = f'{{"name":"demo__echo","arguments":{arguments}}}'
    body = f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}'

    async with gate.http.post(f"{gate.url}/servers/fixed/mcp", data=body, headers=headers) as response:
        error = (await response.json())["error"]

    assert error["code"] == -32602
    assert error["message"].startswith("params.arguments must be an object")


@pytest.mark.parametrize("root_path", ["/mcp", "/api", "/servers/x", "/toolway"])
@pytest.mark.parametrize("is_removed", [True, False])
async def test_everything_is_reached_below_the_root_path(
    gateway: StartGateway, root_path: str, is_removed: bool
) -> None:
    gate = await gateway(demo=True, root_path=root_path)
    prefix = "" if is_removed and not "/api/v1".startswith(root_path) else root_path

    async with gate.http.get(f"{gate.url}{prefix}/api/v1/openapi.json") as response:
        assert response.status == 200
    async with gate.http.post(f"{gate.url}{prefix}/mcp", json={}, headers=ACCEPT) as response:
        assert response.status == 400
        assert "error" in await response.json()


def test_middleware_for_what_is_no_call_is_refused() -> None:
    class Curious:
        name = "curious"
        methods: ClassVar[frozenset[str]] = frozenset({"tools/call", "tools/list"})

        async def __call__(self, call: Call, call_next: CallNext) -> Reply:
            return await call_next(call)

    async def final(call: Call) -> Reply:
        return Reply()

    with pytest.raises(PluginError, match="'curious' wants 'tools/list', which is no call; it can wrap completion"):
        compile_chain([Curious()], "tools/call", final)


async def test_a_call_whose_upstream_is_removed_while_middleware_waits_says_so(
    gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = await gateway(demo=True, data_dir=tmp_path / "behind")
    front = await gateway()
    credential = {"type": "bearer", "token": behind.token}
    body = {"name": "b", "endpoints": [f"{behind.url}/mcp"], "allow_private": True, "auth": credential}
    assert (await front.api("POST", "/upstreams", body)).status == 201
    await eventually(lambda: front.gateway.plane.view("all").listed("tool"))
    chains, catalog = front.gateway.plane.dispatch._chains, front.gateway.kernel.catalog
    go_on = chains["tools/call"]

    async def patient(call: Call) -> Reply:
        await front.api("DELETE", "/upstreams/b")
        await eventually(lambda: "b" not in catalog.snapshot.upstreams)
        return await go_on(call)

    monkeypatch.setitem(chains, "tools/call", patient)
    answer = await front.call("b__demo__add", {"a": 1, "b": 2})

    assert "'b' was removed while the call waited" in answer.content["error"]["message"]
