"""Conversations of the handshake era over streamable HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
from functools import partial
from typing import Any

import msgspec
import pytest
from aiohttp import web
from msgspec import UNSET
from upstream_parts import Dial, Ear, Scripted, call, leg, raw, request, serving, until

from toolway.errors import SessionLost, UpstreamError, UpstreamTimeout
from toolway.hookspecs.routing import Wants
from toolway.mcp.errors import RpcError

EVERYTHING_ASKED: dict[str, Any] = {"elicitation": {}, "sampling": {}, "roots": {}}
SAMPLED = {"role": "assistant", "content": {"type": "text", "text": "four"}, "model": "m"}


async def test_a_tool_is_called_within_a_session(everything: str, dial: Dial) -> None:
    reply = await dial(everything, leg("legacy")).request(call("test_simple_text"))
    assert reply.kind == "complete"
    assert reply.result is not None
    assert b"simple text" in bytes(reply.result)


async def test_discovery_finds_all_items(everything: str, dial: Dial) -> None:
    found = await dial(everything, leg("legacy")).discover()
    assert found.eras.legacy == "2025-11-25"
    assert {item.kind for item in found.items} == {"tool", "prompt", "resource", "template"}
    assert found.server_info["name"]
    assert "tools" in found.capabilities


async def test_the_handshake_declares_what_the_client_declared(scripted: Scripted, dial: Dial) -> None:
    connection = dial(scripted.url, leg("legacy", capabilities={"sampling": {}, "vendor": {"big": 1}}))
    await connection.request(call("echo_raw"))
    [hello] = await scripted.requests("initialize")
    [initialized] = await scripted.requests("notifications/initialized")
    [called] = await scripted.requests("tools/call")
    params = json.loads(hello["body"])["params"]
    assert params["capabilities"] == {"sampling": {}, "vendor": {"big": 1}}
    assert params["protocolVersion"] == "2025-11-25"
    assert params["clientInfo"]["name"]
    assert params["clientInfo"]["version"]
    assert "mcp-session-id" not in hello["headers"]
    assert initialized["headers"]["mcp-session-id"] == called["headers"]["mcp-session-id"]
    assert called["headers"]["mcp-protocol-version"] == "2025-11-25"
    assert "mcp-method" not in called["headers"]


async def test_one_handshake_serves_calls_that_begin_together(scripted: Scripted, dial: Dial) -> None:
    connection = dial(scripted.url, leg("legacy"))
    replies = await asyncio.gather(*(connection.request(call("echo_raw", n=n)) for n in range(20)))
    assert len(await scripted.requests("initialize")) == 1
    for n, reply in enumerate(replies):
        assert reply.result is not None
        assert b'"arguments":{"n":%d}' % n in bytes(reply.result)


async def test_closing_deletes_the_session(scripted: Scripted, dial: Dial) -> None:
    connection = dial(scripted.url, leg("legacy"))
    await connection.request(call("echo_raw"))
    await connection.close()
    deleted = [entry for entry in await scripted.requests() if entry["method"] == "DELETE"]
    assert len(deleted) == 1
    assert deleted[0]["headers"]["mcp-session-id"]


async def test_a_question_of_the_upstream_is_answered_by_the_peer_of_the_call(everything: str, dial: Dial) -> None:
    ear = Ear(elicitation_create={"action": "accept", "content": {"username": "ada", "email": "a@b.example"}})
    connection = dial(everything, leg("legacy", capabilities=EVERYTHING_ASKED))
    reply = await connection.request(call("test_elicitation", ear, message="who?"))
    assert [method for method, _ in ear.asked] == ["elicitation/create"]
    assert reply.result is not None
    assert b"ada" in bytes(reply.result)


async def test_sampling_and_roots_are_asked_too(everything: str, dial: Dial) -> None:
    ear = Ear(sampling_createMessage=SAMPLED)
    connection = dial(everything, leg("legacy", capabilities=EVERYTHING_ASKED))
    reply = await connection.request(call("test_sampling", ear, prompt="2+2?"))
    assert reply.result is not None
    assert b"four" in bytes(reply.result)


async def test_an_error_of_the_client_reaches_the_upstream_as_it_is(dial: Dial) -> None:
    answers: list[Any] = []
    ear = Ear(elicitation_create=RpcError(-1, "User rejected", data=raw({"big": 1})))

    async with serving(_asking(answers)) as url:
        await dial(url, leg("legacy", capabilities=EVERYTHING_ASKED)).request(call("x", ear))
    assert answers == [
        {"jsonrpc": "2.0", "id": "q1", "error": {"code": -1, "message": "User rejected", "data": {"big": 1}}}
    ]


@pytest.mark.parametrize("capabilities", [{}, {"sampling": {}}])
async def test_what_the_client_did_not_declare_is_not_asked(capabilities: dict[str, Any], dial: Dial) -> None:
    answers: list[Any] = []
    ear = Ear(elicitation_create={"action": "accept"})
    async with serving(_asking(answers)) as url:
        await dial(url, leg("legacy", capabilities=capabilities)).request(call("x", ear))
    assert answers[0]["error"]["code"] == -32601
    assert not ear.asked


async def test_a_bug_while_asking_shows_no_exception_text_to_the_upstream(dial: Dial) -> None:
    answers: list[Any] = []
    async with serving(_asking(answers)) as url:
        connection = dial(url, leg("legacy", capabilities=EVERYTHING_ASKED))
        await connection.request(call("x", Ear(elicitation_create=RuntimeError("secret"))))
    assert answers[0]["error"]["code"] == -32603
    assert "secret" not in json.dumps(answers)


async def test_a_ping_of_the_upstream_is_answered_here(dial: Dial) -> None:
    answers: list[Any] = []
    async with serving(_asking(answers, method="ping")) as url:
        await dial(url, leg("legacy")).request(call("x"))
    assert answers == [{"jsonrpc": "2.0", "id": "q1", "result": {}}]


async def test_questions_of_a_cancelled_call_end_with_it(dial: Dial) -> None:
    never = asyncio.Event()
    ear = Ear(elicitation_create=never)
    async with serving(_asking([])) as url:
        connection = dial(url, leg("legacy", capabilities=EVERYTHING_ASKED))
        task = asyncio.create_task(connection.request(call("x", ear)))
        await until(lambda: bool(ear.asked))
        task.cancel()
        await until(lambda: ear.dismissed == 1)


async def test_cancelling_the_call_tells_the_upstream(scripted: Scripted, dial: Dial) -> None:
    await scripted.order("hang")
    connection = dial(scripted.url, leg("legacy"))
    task = asyncio.create_task(connection.request(call("echo_raw")))
    sent: list[dict[str, Any]] = []
    while not sent:
        sent = await scripted.requests("tools/call")
    task.cancel()
    cancelled: list[dict[str, Any]] = []
    while not cancelled:
        cancelled = await scripted.requests("notifications/cancelled")
    assert json.loads(cancelled[0]["body"])["params"]["requestId"] == json.loads(sent[0]["body"])["id"]


async def test_a_call_that_timed_out_is_cancelled_upstream(scripted: Scripted, dial: Dial) -> None:
    await scripted.order("hang")
    asked = call("echo_raw")
    asked.first_byte = 0.2
    with pytest.raises(UpstreamTimeout):
        await dial(scripted.url, leg("legacy")).request(asked)
    while not await scripted.requests("notifications/cancelled"):
        await asyncio.sleep(0.01)


async def test_a_forgotten_session_is_told_and_made_anew_for_the_next_call(scripted: Scripted, dial: Dial) -> None:
    connection = dial(scripted.url, leg("legacy"))
    await connection.request(call("echo_raw"))
    await scripted.forget_sessions()
    with pytest.raises(SessionLost) as caught:
        await connection.request(call("echo_raw"))
    assert not caught.value.sent
    assert (await connection.request(call("echo_raw"))).result is not None


async def test_a_dropped_stream_is_resumed_after_the_last_event(everything: str, dial: Dial) -> None:
    reply = await dial(everything, leg("legacy")).request(call("test_reconnection"))
    assert reply.result is not None


async def test_a_dropped_stream_without_event_ids_is_an_unknown_outcome(scripted: Scripted, dial: Dial) -> None:
    await scripted.order("sse_without_answer")
    with pytest.raises(UpstreamError) as caught:
        await dial(scripted.url, leg("legacy")).request(call("echo_raw"))
    assert caught.value.sent


async def test_an_upstream_that_drops_the_stream_for_ever_is_given_up(dial: Dial) -> None:
    async def drop(asked: web.Request) -> web.StreamResponse:
        if asked.method == "POST" and (await asked.json()).get("method") != "tools/call":
            return await _hello(asked)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(asked)
        if asked.method == "POST":
            await response.write(b"retry: 1\nid: 7\ndata:\n\n")
        return response

    async with serving(drop) as url:
        with pytest.raises(UpstreamError):
            await asyncio.wait_for(dial(url, leg("legacy")).request(call("x")), 10)


async def test_unrelated_messages_reach_the_legs_peer_when_the_client_can_be_asked(
    scripted: Scripted, dial: Dial
) -> None:
    ear = Ear()
    connection = dial(scripted.url, leg("legacy", ear, capabilities=EVERYTHING_ASKED))
    await connection.request(call("echo_raw"))
    while not await scripted.notify("notifications/message", level="info", data="hi"):
        await asyncio.sleep(0.01)
    await until(lambda: ("notifications/message", {"level": "info", "data": "hi"}) in ear.heard)


async def test_an_error_of_the_upstream_is_a_fault(everything: str, dial: Dial) -> None:
    reply = await dial(everything, leg("legacy")).request(request("resources/read", uri="test://nonexistent"))
    assert reply.fault is not None
    assert reply.fault.code in (-32002, -32602)
    assert reply.fault.data is not UNSET


@pytest.mark.parametrize("version", ["1999-01-01", "2026-07-28", "", "zzz"])
async def test_a_version_that_is_not_of_the_handshake_era_is_refused(version: str, dial: Dial) -> None:
    async with serving(partial(_hello, version=version)) as url:
        with pytest.raises(UpstreamError):
            await dial(url, leg("legacy")).request(call("x"))


async def test_an_older_version_is_taken(dial: Dial) -> None:
    async with serving(partial(_hello, version="2024-11-05")) as url:
        found = await dial(url, leg("legacy")).discover()
    assert found.eras.legacy == "2024-11-05"


async def test_notifications_go_out_within_the_session(scripted: Scripted, dial: Dial) -> None:
    connection = dial(scripted.url, leg("legacy"))
    await connection.request(call("echo_raw"))
    await connection.notify("notifications/roots/list_changed", {})
    [sent] = await scripted.requests("notifications/roots/list_changed")
    assert sent["headers"]["mcp-session-id"]


async def test_resources_are_subscribed_and_unsubscribed_by_difference(scripted: Scripted, dial: Dial) -> None:
    connection = dial(scripted.url, leg("legacy"))
    await connection.watch(Wants(uris=frozenset({"raw://a", "raw://b"})))
    await connection.watch(Wants(uris=frozenset({"raw://b", "raw://c"})))
    subscribed = await scripted.requests("resources/subscribe")
    unsubscribed = await scripted.requests("resources/unsubscribe")
    assert [json.loads(entry["body"])["params"]["uri"] for entry in subscribed] == ["raw://a", "raw://b", "raw://c"]
    assert [json.loads(entry["body"])["params"]["uri"] for entry in unsubscribed] == ["raw://a"]


async def _hello(asked: web.Request, version: str = "2025-11-25") -> web.Response:
    if asked.method != "POST":
        return web.Response(status=405)
    message = await asked.json()
    if "id" not in message:
        return web.Response(status=202)
    result: dict[str, Any] = {
        "protocolVersion": version,
        "capabilities": {},
        "serverInfo": {"name": "x", "version": "1"},
    }
    return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result})


def _asking(answers: list[Any], method: str = "elicitation/create") -> Any:
    """A server whose tool asks the client once and answers when it has the client's response."""
    answered = asyncio.Event()

    async def handle(asked: web.Request) -> web.StreamResponse:
        message = await asked.json() if asked.method == "POST" else {}
        if message.get("id") == "q1" and "method" not in message:
            answers.append(message)
            answered.set()
            return web.Response(status=202)
        if message.get("method") != "tools/call":
            return await _hello(asked)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(asked)
        question = {"jsonrpc": "2.0", "id": "q1", "method": method, "params": {"message": "?"}}
        await response.write(b"data: " + msgspec.json.encode(question) + b"\n\n")
        await answered.wait()
        reply = {"jsonrpc": "2.0", "id": message["id"], "result": {}}
        await response.write(b"data: " + msgspec.json.encode(reply) + b"\n\n")
        return response

    return handle


async def test_a_session_that_is_made_anew_gets_the_log_level_of_the_one_before(scripted: Scripted, dial: Dial) -> None:
    connection = dial(scripted.url, leg("legacy"))
    await connection.request(request("logging/setLevel", level="error"))
    await scripted.forget_sessions()
    with contextlib.suppress(SessionLost):  # unless the stream found out first
        await connection.request(call("echo_raw"))

    await connection.request(call("echo_raw"))

    first, second = [each["headers"]["mcp-session-id"] for each in await scripted.requests("logging/setLevel")]
    assert first != second
