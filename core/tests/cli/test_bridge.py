"""The bridge against gateways that end streams too early; with a real gateway it is driven end to end in tests/e2e."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from toolway.cli.bridge import Bridge, standard_input, write_line

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CALL = b'{"jsonrpc":"2.0","id":"mine","method":"tools/call","params":{"name":"slow"}}'
LISTEN = b'{"jsonrpc":"2.0","id":"mine","method":"subscriptions/listen","params":{}}'
INITIALIZE = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}'
PROGRESS = b'id: 1\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n\n'
REPLY = b'id: 2\ndata: {"jsonrpc":"2.0","id":"mine","result":{}}\n\n'
INITIALIZED = b'data: {"jsonrpc":"2.0","id":0,"result":{}}\n\n'


def stream(*events: bytes, session: bool = False) -> web.Response:
    headers = {"content-type": "text/event-stream", **({"mcp-session-id": "s"} if session else {})}
    return web.Response(body=b"".join(events), headers=headers)


async def bridged(
    lines: list[bytes], answers: int, post: Handler, get: Handler | None = None, until: asyncio.Event | None = None
) -> list[Any]:
    """The first answers of a bridge to a gateway that behaves like these handlers; the input ends then, or earlier."""
    app = web.Application()
    app.router.add_post("/mcp", post)
    app.router.add_get("/mcp", get or post)
    app.router.add_delete("/mcp", post)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    written: asyncio.Queue[Any] = asyncio.Queue()
    done = until or asyncio.Event()

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


async def test_what_was_asked_is_answered_although_the_input_has_ended() -> None:
    asked = asyncio.Event()

    async def gateway(_: web.Request) -> web.Response:
        asked.set()
        return stream(REPLY)

    (answer,) = await bridged([CALL], 1, gateway, until=asked)

    assert answer == {"jsonrpc": "2.0", "id": "mine", "result": {}}


async def test_a_stream_without_end_is_not_waited_for_when_the_input_has_ended() -> None:
    asked = asyncio.Event()

    async def gateway(_: web.Request) -> web.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with asyncio.timeout(5):
        assert await bridged([LISTEN], 0, gateway, until=asked) == []


async def test_an_answer_that_does_not_come_is_an_error_when_the_input_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("toolway.cli.bridge.LAST_SECONDS", 0.01)
    asked = asyncio.Event()

    async def gateway(_: web.Request) -> web.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    (answer,) = await bridged([CALL], 1, gateway, until=asked)

    assert (answer["id"], answer["error"]["message"]) == ("mine", "the input ended before the answer came")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}', (-32600, "no")),
        (b'{"status":403,"detail":"this origin may not call"}', (-32603, "this origin may not call")),
        (b"<html>", (-32603, "the gateway answered 403")),
    ],
)
async def test_a_refusal_is_answered_with_its_reason(
    body: bytes, expected: tuple[int, str], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = asyncio.Event()

    async def gateway(_: web.Request) -> web.Response:
        asked.set()
        return web.Response(status=403, body=body)

    (answer,) = await bridged([CALL], 1, gateway, until=asked)

    assert (answer["id"], answer["error"]["code"], answer["error"]["message"]) == ("mine", *expected)
    assert expected[1] in capsys.readouterr().err


@pytest.mark.parametrize(("kind", "expected"), [("file", [b"a\n", b"b"]), ("null", []), ("pipe", [b"a\n", b"b"])])
async def test_standard_input_may_be_a_file(
    kind: str, expected: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lines").write_bytes(b"a\nb")
    if kind == "pipe":
        source, end = os.pipe()
        os.write(end, b"a\nb")
        os.close(end)
    else:
        source = os.open(tmp_path / "lines" if kind == "file" else os.devnull, os.O_RDONLY)

    with os.fdopen(source) as given:
        monkeypatch.setattr(sys, "stdin", given)
        async with asyncio.timeout(5):
            assert [line async for line in standard_input()] == expected


def test_a_client_that_reads_no_more_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    source, end = os.pipe()
    os.close(source)

    with os.fdopen(end, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        write_line(b"{}")
        write_line(b"{}")
