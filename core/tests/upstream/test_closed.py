"""A conversation that was closed begins nothing any more: no program, no session, no stream."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

import pytest
from aiohttp import web
from upstream_parts import Dial, call, leg, opened, serving, until

from toolway.hookspecs.routing import Wants
from toolway.plugin import UpstreamError

DEMO = (sys.executable, "-m", "toolway.cli.demo")
WANTED = Wants(uris=frozenset({"a://1"}))
ERAS = pytest.mark.parametrize("era", ["modern", "legacy"])


@ERAS
async def test_a_call_does_not_start_a_program_whose_conversation_was_closed(era: Any, start: Dial) -> None:
    before = opened()
    connection = start(leg(era), *DEMO)
    await connection.request(call("now"))
    await connection.close()

    with pytest.raises(UpstreamError):
        await connection.request(call("now"))

    await until(lambda: opened() <= before)


@ERAS
async def test_a_wish_does_not_start_a_program_whose_conversation_was_closed(era: Any, start: Dial) -> None:
    before = opened()
    connection = start(leg(era), *DEMO)
    with contextlib.suppress(UpstreamError):  # it reports no changes
        await connection.watch(WANTED)
    await connection.close()

    for wants in (Wants(), WANTED):
        with pytest.raises(UpstreamError, match="closed"):
            await connection.watch(wants)

    await until(lambda: opened() <= before)


@ERAS
@pytest.mark.parametrize("steps", range(6))
async def test_a_program_that_was_being_started_when_all_was_closed_is_stopped(
    era: Any, steps: int, start: Dial
) -> None:
    before = opened()
    connection = start(leg(era), *DEMO)
    calling = asyncio.create_task(connection.request(call("now")))
    for _ in range(steps):
        await asyncio.sleep(0)

    await connection.close()

    with pytest.raises(UpstreamError):
        await asyncio.wait_for(calling, 10)
    await until(lambda: opened() <= before)


@pytest.mark.parametrize("wants", [WANTED, Wants()])
async def test_a_wish_does_not_begin_a_session_after_the_end(wants: Wants, dial: Dial) -> None:
    upstream = Upstream()
    async with serving(upstream.handle) as url:
        connection = dial(url, leg("legacy"))
        await connection.watch(WANTED)
        await connection.close()

        with pytest.raises(UpstreamError, match="closed meanwhile"):
            await connection.watch(wants)
        with pytest.raises(UpstreamError, match="closed meanwhile"):
            await connection.request(call("x"))
        assert upstream.begun == 1
        await until(lambda: not upstream.sessions and not upstream.streams)


async def test_a_session_that_was_being_made_when_all_was_closed_is_ended(dial: Dial) -> None:
    upstream = Upstream()
    upstream.answers.clear()
    async with serving(upstream.handle) as url:
        connection = dial(url, leg("legacy", capabilities={"sampling": {}}))
        calling = asyncio.create_task(connection.request(call("x")))
        await until(lambda: upstream.begun == 1)
        await connection.close()
        upstream.answers.set()

        with pytest.raises(UpstreamError):
            await calling
        await until(lambda: not upstream.sessions and not upstream.streams)


async def test_a_modern_upstream_is_not_listened_to_after_the_end(dial: Dial) -> None:
    upstream = Upstream()
    async with serving(upstream.handle) as url:
        connection = dial(url, leg("modern"))
        await connection.close()

        with pytest.raises(UpstreamError, match="closed meanwhile"):
            await connection.watch(WANTED)
        assert not upstream.begun


class Upstream:
    """Has sessions and streams; `answers` has to be set for it to answer, and `begun` counts what was begun."""

    def __init__(self) -> None:
        self.begun = 0
        self.sessions: set[str] = set()
        self.streams = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def handle(self, asked: web.Request) -> web.StreamResponse:
        session = asked.headers.get("mcp-session-id", "")
        if asked.method == "DELETE":
            self.sessions.discard(session)
            return web.Response()
        if asked.method == "GET":
            return await self._stream(asked)
        message = await asked.json()
        if message["method"] in ("initialize", "subscriptions/listen"):
            self.begun += 1
            session = str(self.begun)
            self.sessions.add(session)
        await self.answers.wait()
        if "id" not in message:
            return web.Response(status=202)
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": hello}
        return web.json_response(answer, headers={"mcp-session-id": session})

    async def _stream(self, asked: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await stream.prepare(asked)
        self.streams += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.streams -= 1
        return stream
