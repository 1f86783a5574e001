"""Conversations in MCP 2026-07-28 over streamable HTTP."""

from __future__ import annotations

import asyncio
import base64
import itertools
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web
from msgspec import Raw
from upstream_parts import Dial, Ear, Scripted, call, leg, request, serving, until

from toolway.errors import UpstreamTimeout, UpstreamUnauthorized, UpstreamUnreachable
from toolway.hookspecs.secrets import Challenge


async def test_a_tool_is_called_and_its_result_comes_back(everything: str, dial: Dial) -> None:
    reply = await dial(everything, leg("modern")).request(call("test_simple_text"))
    assert reply.kind == "complete"
    assert reply.result is not None
    assert b"simple text" in bytes(reply.result)


async def test_discovery_finds_all_items_over_all_pages(everything: str, dial: Dial) -> None:
    found = await dial(everything, leg("modern")).discover()
    kinds = [item.kind for item in found.items]
    assert kinds.count("tool") > 20
    assert {"prompt", "resource", "template"} <= set(kinds)
    assert found.eras.modern == "2026-07-28"
    assert found.server_info["name"]


async def test_pages_go_on_over_an_empty_page_and_an_empty_cursor(scripted: Scripted, dial: Dial) -> None:
    await scripted.lists(odd_pages=True)
    found = await dial(scripted.url, leg("modern")).discover()
    assert [item.name for item in found.items if item.kind == "tool"] == ["echo_raw", "result_raw"]


async def test_items_are_kept_byte_for_byte(scripted: Scripted, dial: Dial) -> None:
    found = await dial(scripted.url, leg("modern")).discover()
    tool = next(item for item in found.items if item.name == "echo_raw")
    assert b'"vendorField":{"big":' + b"9" * 40 + b"}" in tool.raw
    assert b"raw \\u00e9\\ud83d\\ude00" in tool.raw


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("value", [b"9" * 60, b"1e400", b"-0.0", b'{"a":1,"a":2}', b'"\\u0000\\ud83d\\ude00"', b"1.50"])
async def test_values_survive_byte_for_byte_in_both_directions(
    era: Any, value: bytes, scripted: Scripted, dial: Dial
) -> None:
    arguments = b'{"value":' + value + b"}"
    asked = request("tools/call", name="echo_raw", arguments=Raw(arguments))
    reply = await dial(scripted.url, leg(era)).request(asked)
    assert reply.result is not None
    assert b'"arguments":' + arguments in bytes(reply.result)


async def test_the_headers_mirror_the_body(scripted: Scripted, dial: Dial) -> None:
    connection = dial(scripted.url, leg("modern"), headers={"x-tenant": "literal:blue"})
    await connection.request(request("prompts/get", name="größe"))
    [sent] = await scripted.requests("prompts/get")
    headers, meta = sent["headers"], msgspec.json.decode(sent["body"])["params"]["_meta"]
    assert headers["mcp-method"] == "prompts/get"
    assert base64.b64decode(headers["mcp-name"].removeprefix("=?base64?").removesuffix("?=")).decode() == "größe"
    assert headers["mcp-protocol-version"] == meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert meta["io.modelcontextprotocol/clientCapabilities"] == {}
    assert headers["x-tenant"] == "blue"
    assert "mcp-session-id" not in headers


async def test_what_the_gateway_says_about_the_client_goes_out_as_it_is(scripted: Scripted, dial: Dial) -> None:
    asked = call("echo_raw")
    asked.meta["io.modelcontextprotocol/clientInfo"] = Raw(b'{"name":"theirs","version":"9","extra":1.0}')
    await dial(scripted.url, leg("modern")).request(asked)
    [sent] = await scripted.requests("tools/call")
    assert '"io.modelcontextprotocol/clientInfo":{"name":"theirs","version":"9","extra":1.0}' in sent["body"]


async def test_the_clients_identity_always_has_name_and_version(scripted: Scripted, dial: Dial) -> None:
    await dial(scripted.url, leg("modern")).request(call("echo_raw"))
    [sent] = await scripted.requests("tools/call")
    info = msgspec.json.decode(sent["body"])["params"]["_meta"]["io.modelcontextprotocol/clientInfo"]
    assert info["name"]
    assert info["version"]


async def test_a_server_that_needs_input_is_answered_by_whoever_sent_the_call(everything: str, dial: Dial) -> None:
    connection = dial(everything, leg("modern", capabilities={"elicitation": {}}))
    reply = await connection.request(call("test_input_required_result_elicitation"))
    assert reply.kind == "input_required"
    assert reply.result is not None
    assert b"inputRequests" in bytes(reply.result)


async def test_progress_reaches_the_peer_of_the_call(everything: str, dial: Dial) -> None:
    ear = Ear()
    await dial(everything, leg("modern")).request(call("test_tool_with_progress", ear, token="t1"))
    assert [params["progressToken"] for method, params in ear.heard if method == "notifications/progress"] == ["t1"] * 3


async def test_an_answer_in_odd_but_legal_events_is_read(scripted: Scripted, dial: Dial) -> None:
    await scripted.order("sse")
    reply = await dial(scripted.url, leg("modern")).request(call("echo_raw", x=1))
    assert reply.result is not None
    assert b'"arguments":{"x":1}' in bytes(reply.result)


@pytest.mark.parametrize(
    ("status", "code"), [(400, -32020), (400, -32021), (404, -32601), (200, -32602), (500, -32603)]
)
async def test_a_json_rpc_error_is_a_fault_whatever_the_status(status: int, code: int, dial: Dial) -> None:
    async def refuse(asked: web.Request) -> web.Response:
        error = {"code": code, "message": "no", "data": {"big": 12345678901234567890123}}
        message = {"jsonrpc": "2.0", "id": (await asked.json())["id"], "error": error}
        return web.Response(body=msgspec.json.encode(message), status=status, content_type="application/json")

    async with serving(refuse) as url:
        reply = await dial(url, leg("modern")).request(call("x"))
    assert reply.fault is not None
    assert reply.fault.code == code
    assert reply.fault.data == Raw(b'{"big":12345678901234567890123}')


async def test_cancelling_the_call_closes_the_connection_at_once(dial: Dial) -> None:
    seen, gone = asyncio.Event(), asyncio.Event()

    async def hang(asked: web.Request) -> web.Response:
        seen.set()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        return web.Response()

    async with serving(hang) as url:
        task = asyncio.create_task(dial(url, leg("modern")).request(call("x")))
        await seen.wait()
        task.cancel()
        await asyncio.wait_for(gone.wait(), 2)
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_an_answer_that_does_not_begin_in_time_is_a_timeout(scripted: Scripted, dial: Dial) -> None:
    await scripted.order("hang")
    asked = call("echo_raw")
    asked.first_byte = 0.2
    with pytest.raises(UpstreamTimeout) as caught:
        await dial(scripted.url, leg("modern")).request(asked)
    assert caught.value.sent


async def test_an_answer_that_is_not_complete_at_the_deadline_is_a_timeout(scripted: Scripted, dial: Dial) -> None:
    await scripted.order("hang_in_body")
    asked = call("echo_raw")
    asked.deadline = time.monotonic() + 0.3
    with pytest.raises(UpstreamTimeout):
        await dial(scripted.url, leg("modern")).request(asked)


async def test_a_refused_credential_is_renewed_once_with_the_challenge(dial: Dial) -> None:
    challenges: list[Challenge | None] = []

    async def authorize(challenge: Challenge | None) -> dict[str, str]:
        challenges.append(challenge)
        return {"authorization": "Bearer new" if challenge else "Bearer old"}

    async def check(asked: web.Request) -> web.Response:
        if asked.headers["authorization"] != "Bearer new":
            return web.Response(status=401, headers={"www-authenticate": 'Bearer error="invalid_token"'})
        return web.json_response({"jsonrpc": "2.0", "id": (await asked.json())["id"], "result": {"ok": True}})

    async with serving(check) as url:
        reply = await dial(url, leg("modern", authorize=authorize)).request(call("x"))
    assert reply.result == Raw(b'{"ok": true}')
    assert challenges == [None, Challenge(401, 'Bearer error="invalid_token"')]


async def test_a_credential_that_stays_refused_is_an_error(scripted: Scripted, dial: Dial) -> None:
    await scripted.order("unauthorized")
    with pytest.raises(UpstreamUnauthorized):
        await dial(scripted.url, leg("modern")).request(call("echo_raw"))


async def test_an_endpoint_that_nobody_listens_on_is_unreachable_and_nothing_was_sent(dial: Dial) -> None:
    with pytest.raises(UpstreamUnreachable) as caught:
        await dial("http://127.0.0.1:9/mcp", leg("modern")).request(call("x"))
    assert not caught.value.sent


async def test_many_calls_at_once_get_their_own_answers(scripted: Scripted, dial: Dial) -> None:
    connection = dial(scripted.url, leg("modern"))
    replies = await asyncio.gather(*(connection.request(call("echo_raw", n=n)) for n in range(50)))
    for n, reply in enumerate(replies):
        assert reply.result is not None
        assert b'"arguments":{"n":%d}' % n in bytes(reply.result)


async def test_tools_with_invalid_header_annotations_are_left_out_and_reported(dial: Dial) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "number", "x-mcp-header": "A"}}}

    async def answer(asked: web.Request) -> web.Response:
        message = await asked.json()
        result: dict[str, Any] = {
            "resultType": "complete",
            "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}},
        }
        if message["method"] == "tools/list":
            result = {"tools": [{"name": "bad", "inputSchema": schema}, {"name": "good", "inputSchema": {}}]}
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result})

    async with serving(answer) as url:
        found = await dial(url, leg("modern")).discover()
    assert [item.name for item in found.items] == ["good"]
    assert [problem.partition(": x-mcp")[0] for problem in found.problems] == ["upstream 'up': tool 'bad' is left out"]


async def test_discovery_holds_only_so_many_bytes_of_a_list(dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolway.bundled.upstreams.discover.MAX_LIST", 25_000)
    async with serving(_endless(lambda n: [{"name": f"t{n}", "description": "x" * 8_000}])) as url:
        found = await dial(url, leg("modern")).discover()
    assert [item.name for item in found.items] == ["t1", "t2", "t3", "t4"]
    assert "or 25000 bytes; the rest is left out" in found.problems[0]


async def test_discovery_names_only_so_many_entries_that_are_left_out(dial: Dial) -> None:
    async with serving(_endless(lambda n: [0] * 600)) as url:
        found = await dial(url, leg("modern")).discover()
    assert len(found.problems) == 1001
    assert "more than 1000 entries" in found.problems[-1]


async def test_a_notification_outside_of_a_watch_does_not_disturb(scripted: Scripted, dial: Dial) -> None:
    ear = Ear()
    await scripted.order("progress")
    await dial(scripted.url, leg("modern")).request(call("echo_raw", ear, token="p"))
    await until(lambda: len(ear.heard) == 5)
    assert [params["progress"] for _, params in ear.heard] == [1, 2, 2, 1, 3]


def _endless(page: Callable[[int], list[Any]]) -> Callable[[web.Request], Any]:
    """A server whose list of tools never ends."""
    numbers = itertools.count(1)

    async def answer(asked: web.Request) -> web.Response:
        message = await asked.json()
        result: dict[str, Any] = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
        if message["method"] == "tools/list":
            result = {"tools": page(next(numbers)), "nextCursor": "more"}
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result})

    return answer
