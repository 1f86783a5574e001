"""The bridge against gateways that end streams too early; with a real gateway it is driven end to end in tests/e2e."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from toolway.cli.bridge import Bridge

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CALL = b'{"jsonrpc":"2.0","id":"mine","method":"tools/call","params":{"name":"slow"}}'
INITIALIZE = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}'
PROGRESS = b'id: 1\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n\n'
REPLY = b'id: 2\ndata: {"jsonrpc":"2.0","id":"mine","result":{}}\n\n'
INITIALIZED = b'data: {"jsonrpc":"2.0","id":0,"result":{}}\n\n'


def stream(*events: bytes, session: bool = False) -> web.Response:
    headers = {"content-type": "text/event-stream", **({"mcp-session-id": "s"} if session else {})}
    return web.Response(body=b"".join(events), headers=headers)


async def bridged(lines: list[bytes], answers: int, post: Handler, get: Handler | None = None) -> list[Any]:
    """The first answers of a bridge to a gateway that behaves like these handlers."""
    app = web.Application()
    app.router.add_post("/mcp", post)
    app.router.add_get("/mcp", get or post)
    app.router.add_delete("/mcp", post)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    written: asyncio.Queue[Any] = asyncio.Queue()
    done = asyncio.Event()

    async def typed() -> AsyncIterator[bytes]:
        for line in lines:
            yield line
        await done.wait()

    async with asyncio.timeout(10), aiohttp.ClientSession() as http:
        bridge = Bridge(f"http://{runner.addresses[0][0]}:{runner.addresses[0][1]}/mcp", None, http, written.put_nowait)
        running = asyncio.create_task(bridge.run(typed()))
        found = [json.loads(await written.get()) for _ in range(answers)]
        done.set()
        await running
    await runner.cleanup()
    assert written.empty()
    return found


@pytest.mark.parametrize("events", [[], [PROGRESS]])
async def test_a_stream_that_ends_without_the_reply_is_answered_with_an_error(events: list[bytes]) -> None:
    async def gateway(_: web.Request) -> web.Response:
        return stream(*events)

    *_, answer = await bridged([CALL], len(events) + 1, gateway)

    assert answer["id"] == "mine"
    assert answer["error"] == {"code": -32603, "message": "the gateway ended the stream without an answer"}


async def test_a_reply_is_not_followed_by_an_error() -> None:
    async def gateway(_: web.Request) -> web.Response:
        return stream(PROGRESS, REPLY)

    _, answer = await bridged([CALL], 2, gateway)

    assert answer == {"jsonrpc": "2.0", "id": "mine", "result": {}}


async def test_a_stream_of_a_session_that_ends_early_is_resumed_after_its_last_event() -> None:
    resumed_after: list[str | None] = []

    async def gateway(request: web.Request) -> web.Response:
        is_first = b"initialize" in await request.read()
        return stream(INITIALIZED, session=True) if is_first else stream(PROGRESS)

    async def resume(request: web.Request) -> web.Response:
        resumed_after.append(request.headers.get("last-event-id"))
        return stream(REPLY)

    *_, answer = await bridged([INITIALIZE, CALL], 3, gateway, resume)

    assert answer == {"jsonrpc": "2.0", "id": "mine", "result": {}}
    assert resumed_after == ["1"]


async def test_what_is_no_message_is_not_handed_on() -> None:
    async def gateway(_: web.Request) -> web.Response:
        return web.Response(body=b"<html>", content_type="text/html")

    (answer,) = await bridged([CALL], 1, gateway)

    assert (answer["id"], answer["error"]["code"]) == ("mine", -32603)
