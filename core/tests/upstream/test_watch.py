"""Changes are reported as long as somebody wants them, over broken streams and lost sessions."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

import msgspec
import pytest
from aiohttp import web
from upstream_parts import Dial, Ear, Scripted, call, leg, serving, until

from toolway.hookspecs.routing import Wants
from toolway.plugin import SessionLost, UpstreamError

LISTS = Wants(tools=True, prompts=True, resources=True)
CHANGED = "notifications/tools/list_changed"
UPDATED = "notifications/resources/updated"


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_changed_list_is_reported(era: Any, everything: str, dial: Dial) -> None:
    ear = Ear()
    connection = dial(everything, leg(era, ear))
    await connection.watch(LISTS)
    while CHANGED not in ear.methods():
        await connection.request(call("test_trigger_tool_change"))
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_an_updated_resource_is_reported(era: Any, scripted: Scripted, dial: Dial) -> None:
    ear = Ear()
    await dial(scripted.url, leg(era, ear)).watch(Wants(uris=frozenset({"raw://one"})))
    while not ear.heard:
        await scripted.notify(UPDATED, uri="raw://one")
        await asyncio.sleep(0.05)
    assert ear.heard[0] == (UPDATED, {"uri": "raw://one"})


async def test_a_new_wish_opens_a_stream_before_the_old_one_ends(scripted: Scripted, dial: Dial) -> None:
    ear = Ear()
    connection = dial(scripted.url, leg("modern", ear))
    await connection.watch(Wants(tools=True))
    await connection.watch(Wants(tools=True, uris=frozenset({"raw://one"})))
    asked = [msgspec.json.decode(entry["body"])["params"] for entry in await scripted.requests("subscriptions/listen")]
    assert asked[1]["notifications"] == {"toolsListChanged": True, "resourceSubscriptions": ["raw://one"]}
    while await scripted.notify(CHANGED) != 1:
        await asyncio.sleep(0.01)
    assert asked[0]["notifications"] == {"toolsListChanged": True}


async def test_wishing_nothing_ends_the_stream(scripted: Scripted, dial: Dial) -> None:
    connection = dial(scripted.url, leg("modern"))
    await connection.watch(Wants(tools=True))
    await connection.watch(Wants())
    while await scripted.notify(CHANGED) != 0:
        await asyncio.sleep(0.01)


async def test_the_same_wish_again_changes_nothing(scripted: Scripted, dial: Dial) -> None:
    connection = dial(scripted.url, leg("modern"))
    for _ in range(3):
        await connection.watch(LISTS)
    assert len(await scripted.requests("subscriptions/listen")) == 1


async def test_after_a_broken_modern_stream_everything_wanted_is_reported(dial: Dial) -> None:
    ear = Ear()
    async with serving(_listening(breaks=2)) as url:
        await dial(url, leg("modern", ear)).watch(Wants(tools=True, uris=frozenset({"a://1", "a://2"})))
        assert not ear.heard
        await until(lambda: len(ear.heard) == 6)
    once = [CHANGED, UPDATED, UPDATED]
    assert ear.methods() == once * 2
    assert [params["uri"] for method, params in ear.heard if method == UPDATED] == ["a://1", "a://2"] * 2


async def test_an_upstream_without_subscriptions_is_asked_only_once(dial: Dial) -> None:
    asked = []

    async def refuse(message: web.Request) -> web.Response:
        asked.append(1)
        error = {"code": -32601, "message": "Method not found"}
        return web.json_response({"jsonrpc": "2.0", "id": (await message.json())["id"], "error": error}, status=404)

    async with serving(refuse) as url:
        connection = dial(url, leg("modern"))
        for wants in (Wants(tools=True), Wants(prompts=True)):
            with pytest.raises(UpstreamError, match="refused to report changes"):
                await asyncio.wait_for(connection.watch(wants), 5)
    assert len(asked) == 2


async def test_what_a_modern_upstream_refuses_leaves_in_force_what_was_before(dial: Dial) -> None:
    refused = asyncio.Event()

    async def handle(asked: web.Request) -> web.StreamResponse:
        message = await asked.json()
        if "resourceSubscriptions" in message["params"]["notifications"]:
            error = {"code": -32602, "message": "no such resource"}
            return web.json_response({"jsonrpc": "2.0", "id": message["id"], "error": error}, status=400)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(asked)
        acknowledged = _encoded("notifications/subscriptions/acknowledged", notifications={})
        await response.write(b"data: " + acknowledged + b"\n\n")
        await refused.wait()
        await response.write(b"data: " + _encoded(CHANGED) + b"\n\n")
        await asyncio.Event().wait()
        return response

    ear = Ear()
    async with serving(handle) as url:
        connection = dial(url, leg("modern", ear))
        await connection.watch(Wants(tools=True))
        with pytest.raises(UpstreamError, match="refused to report changes"):
            await connection.watch(Wants(tools=True, uris=frozenset({"a://1"})))
        await connection.watch(Wants(tools=True))
        refused.set()
        await until(lambda: ear.methods() == [CHANGED])


async def test_a_refused_subscription_is_said_once_to_whoever_asked_for_it_and_disturbs_no_other(dial: Dial) -> None:
    asked: list[tuple[str, str]] = []

    async def handle(request: web.Request) -> web.Response:
        message = await request.json() if request.method == "POST" else {}
        if not message.get("method", "").startswith("resources/"):
            return await _hello(request) if message else web.Response(status=405)
        asked.append((message["method"], message["params"]["uri"]))
        error = {"code": -32002, "message": "no such resource"}
        outcome = {"error": error} if message["params"]["uri"] == "a://bad" else {"result": {}}
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], **outcome})

    good, bad, other = "a://good", "a://bad", "a://other"
    async with serving(handle) as url:
        connection = dial(url, leg("legacy"))
        await connection.watch(Wants(uris=frozenset({good})))
        for _ in range(2):
            with pytest.raises(UpstreamError, match="refused a subscription"):
                await connection.watch(Wants(uris=frozenset({good, bad})))
            await connection.watch(Wants(uris=frozenset({good, bad, other})))
            await connection.watch(Wants(uris=frozenset({good})))
    assert [uri for method, uri in asked if method == "resources/subscribe"] == [good, bad, other, bad, other]


@pytest.mark.parametrize(("status", "code"), [(503, -32603), (200, -32603), (200, -32000)])
async def test_an_upstream_that_could_not_listen_at_the_moment_is_asked_again(
    status: int, code: int, dial: Dial
) -> None:
    asked = []

    async def fail_once(message: web.Request) -> Any:
        asked.append(1)
        if len(asked) > 1:
            return await _listening(breaks=0)(message)
        error = {"code": code, "message": "shutting down"}
        answer = {"jsonrpc": "2.0", "id": (await message.json())["id"], "error": error}
        return web.json_response(answer, status=status)

    ear = Ear()
    async with serving(fail_once) as url:
        await dial(url, leg("modern", ear)).watch(Wants(tools=True))
        await until(lambda: ear.methods() == [CHANGED])


async def test_a_lost_session_is_made_anew_while_it_is_watched(scripted: Scripted, dial: Dial) -> None:
    ear = Ear()
    connection = dial(scripted.url, leg("legacy", ear))
    await connection.watch(Wants(tools=True, uris=frozenset({"raw://one"})))
    await scripted.forget_sessions()
    with contextlib.suppress(SessionLost):  # unless the stream found out first
        await connection.request(call("echo_raw"))
    await until(lambda: UPDATED in ear.methods() and CHANGED in ear.methods())
    assert len(await scripted.requests("initialize")) == 2
    assert len(await scripted.requests("resources/subscribe")) == 2


async def test_a_get_stream_that_ends_at_once_is_opened_again_with_patience(dial: Dial) -> None:
    opened = []

    async def handle(asked: web.Request) -> web.StreamResponse:
        if asked.method == "POST":
            return await _hello(asked)
        opened.append(1)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(asked)
        return response

    ear = Ear()
    async with serving(handle) as url:
        await dial(url, leg("legacy", ear)).watch(Wants(tools=True))
        await until(lambda: len(ear.heard) >= 2)
        await asyncio.sleep(0.5)
    assert 3 <= len(opened) <= 12


async def test_a_get_stream_is_resumed_after_its_last_event(dial: Dial) -> None:
    resumed: list[str] = []

    async def handle(asked: web.Request) -> web.StreamResponse:
        if asked.method == "POST":
            return await _hello(asked)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(asked)
        if "last-event-id" in asked.headers:
            resumed.append(asked.headers["last-event-id"])
            await asyncio.sleep(10)
        await response.write(b"retry: 1\nid: e1\ndata: " + _encoded(CHANGED) + b"\n\n")
        return response

    ear = Ear()
    async with serving(handle) as url:
        await dial(url, leg("legacy", ear)).watch(Wants(tools=True))
        await until(lambda: bool(resumed))
    assert resumed == ["e1"]
    assert ear.methods() == [CHANGED]


async def test_a_get_stream_that_lets_itself_be_polled_is_polled_as_often_as_it_says(dial: Dial) -> None:
    polls: list[str] = []

    async def handle(asked: web.Request) -> web.StreamResponse:
        if asked.method == "POST":
            return await _hello(asked)
        polls.append(asked.headers.get("last-event-id", ""))
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(asked)
        await response.write(b"retry: 1\nid: %d\ndata:\n\n" % len(polls))
        return response

    async with serving(handle) as url:
        await dial(url, leg("legacy")).watch(Wants(tools=True))
        await until(lambda: len(polls) >= 15)
    assert polls[:3] == ["", "1", "2"]


@pytest.mark.parametrize("status", [404, 405])
async def test_an_upstream_without_a_get_stream_is_left_alone(status: int, dial: Dial) -> None:
    asked: list[str] = []

    async def handle(message: web.Request) -> web.StreamResponse:
        asked.append(message.method)
        return await _hello(message) if message.method == "POST" else web.Response(status=status)

    async with serving(handle) as url:
        connection = dial(url, leg("legacy"))
        await connection.watch(Wants(tools=True))
        await until(lambda: "GET" in asked)
        assert (await connection.request(call("x"))).result is not None
        await asyncio.sleep(0.3)
    assert asked.count("GET") == 1


async def test_a_watched_program_that_ends_is_started_again(start: Dial) -> None:
    program = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("method") == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
    elif message.get("method") == "resources/subscribe":
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {}}), flush=True)
    elif message.get("method") == "tools/call":
        sys.exit(0)
"""
    ear = Ear()
    connection = start(leg("legacy", ear), sys.executable, "-c", program)
    await connection.watch(Wants(tools=True, uris=frozenset({"a://1"})))
    with pytest.raises(Exception, match="ended"):
        await connection.request(call("x"))
    await until(lambda: CHANGED in ear.methods() and UPDATED in ear.methods())


async def _hello(asked: web.Request) -> web.Response:
    message = await asked.json()
    if "id" not in message:
        return web.Response(status=202)
    result: dict[str, Any] = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "serverInfo": {"name": "x", "version": "1"},
    }
    answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
    return web.json_response(answer, headers={"mcp-session-id": "s1"})


def _encoded(method: str, **params: Any) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "method": method, "params": params})


def _listening(breaks: int) -> Any:
    """Acknowledges each subscription and breaks the first ones at once."""
    opened = []

    async def handle(asked: web.Request) -> web.StreamResponse:
        opened.append(1)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(asked)
        await response.write(
            b"data: " + _encoded("notifications/subscriptions/acknowledged", notifications={}) + b"\n\n"
        )
        if len(opened) > breaks:
            await asyncio.sleep(10)
        return response

    return handle
