"""A subscription in the handshake era waits for the stream that its updates come on, but not for ever."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
import pytest
from aiohttp import web
from upstream_parts import Dial, Ear, call, leg, request, serving, until

from toolway.hookspecs.routing import Wants
from toolway.plugin import SessionLost, UpstreamError

UPDATED = "notifications/resources/updated"
WANTED = Wants(uris=frozenset({"a://1"}))


async def test_an_update_right_after_a_subscription_is_heard(dial: Dial) -> None:
    ear, upstream = Ear(), Upstream(seconds=0.2)
    async with serving(upstream.handle) as url:
        await dial(url, leg("legacy", ear)).watch(WANTED)
        assert upstream.seen == ["GET", "open", "resources/subscribe"]
        await until(lambda: ear.methods() == [UPDATED])


async def test_lists_are_watched_once_the_stream_is_open(dial: Dial) -> None:
    upstream = Upstream(seconds=0.2)
    async with serving(upstream.handle) as url:
        await dial(url, leg("legacy")).watch(Wants(tools=True))
        assert upstream.seen == ["GET", "open"]


async def test_a_subscription_waits_for_a_stream_that_was_asked_for_before(dial: Dial) -> None:
    upstream = Upstream(seconds=0.2)
    async with serving(upstream.handle) as url:
        connection = dial(url, leg("legacy", capabilities={"sampling": {}}))
        await connection.request(call("x"))
        await connection.watch(WANTED)
        assert upstream.seen == ["GET", "open", "resources/subscribe"]


@pytest.mark.parametrize("status", [404, 405, 409])
async def test_an_upstream_that_opens_no_stream_is_subscribed_to_all_the_same(status: int, dial: Dial) -> None:
    upstream = Upstream(status)
    async with serving(upstream.handle) as url:
        await asyncio.wait_for(dial(url, leg("legacy")).watch(WANTED), 5)
        assert upstream.seen == ["GET", "resources/subscribe"]


async def test_what_was_missed_until_a_stream_opens_at_last_is_made_up_for(dial: Dial) -> None:
    ear, upstream = Ear(), Upstream(503, seconds=None)
    async with serving(upstream.handle) as url:
        await dial(url, leg("legacy", ear)).watch(WANTED)
        assert not ear.heard
        upstream.opens.set()
        await until(lambda: ear.methods() == [UPDATED])


async def test_a_stream_that_hangs_is_waited_for_only_so_long(dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolway.bundled.upstreams.repeat.PATIENCE", 0.1)
    ear, upstream = Ear(), Upstream(seconds=None)
    async with serving(upstream.handle) as url:
        connection = dial(url, leg("legacy", ear))
        await asyncio.wait_for(connection.watch(WANTED), 5)
        assert "open" not in upstream.seen
        assert "resources/subscribe" in upstream.seen
        upstream.opens.set()
        await until(lambda: ear.methods() == [UPDATED])


async def test_a_subscription_that_was_given_up_while_it_waited_can_be_made_again(dial: Dial) -> None:
    ear, upstream = Ear(), Upstream(seconds=None)
    async with serving(upstream.handle) as url:
        connection = dial(url, leg("legacy", ear))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.watch(WANTED), 0.2)
        upstream.opens.set()
        await connection.watch(WANTED)
        assert upstream.seen == ["GET", "open", "resources/subscribe"]
        await until(lambda: ear.methods() == [UPDATED])


async def test_a_subscription_that_was_given_up_on_its_way_is_called_off(dial: Dial) -> None:
    upstream = Upstream()
    upstream.answers.clear()
    async with serving(upstream.handle) as url:
        connection = dial(url, leg("legacy"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.watch(WANTED), 0.3)
        upstream.answers.set()
        await connection.watch(Wants())
        assert upstream.seen[-2:] == ["resources/subscribe", "resources/unsubscribe"]


async def test_a_subscription_that_waits_when_all_is_closed_opens_nothing(dial: Dial) -> None:
    upstream = Upstream(seconds=None)
    async with serving(upstream.handle) as url:
        connection = dial(url, leg("legacy"))
        waiting = asyncio.create_task(connection.watch(WANTED))
        await until(lambda: upstream.seen == ["GET"])
        upstream.session += 1
        with pytest.raises(SessionLost):
            await connection.request(call("x"))
        await connection.close()
        with pytest.raises(UpstreamError, match="closed meanwhile"):
            await waiting
        assert upstream.seen == ["GET"]


async def test_calls_wait_for_no_stream(dial: Dial) -> None:
    upstream = Upstream(seconds=None)
    async with serving(upstream.handle) as url:
        connection = dial(url, leg("legacy", capabilities={"sampling": {}}))
        assert (await asyncio.wait_for(connection.request(call("x")), 5)).result is not None
        await until(lambda: upstream.seen == ["GET"])


async def test_after_a_lost_session_everything_wanted_is_reported_once_the_new_stream_is_open(dial: Dial) -> None:
    ear, upstream = Ear(), Upstream(405, seconds=None)
    async with serving(upstream.handle) as url:
        connection = dial(url, leg("legacy", ear))
        await connection.watch(WANTED)
        upstream.session += 1
        with pytest.raises(SessionLost):
            await connection.request(call("x"))
        assert (await asyncio.wait_for(connection.request(call("x")), 5)).result is not None
        await until(lambda: upstream.seen.count("resources/subscribe") == 2)
        assert not ear.heard
        upstream.opens.set()
        await until(lambda: ear.methods() == [UPDATED])


async def test_calls_do_not_fail_with_the_subscriptions_of_a_new_session_which_are_made_later(dial: Dial) -> None:
    ear, upstream = Ear(), Upstream()
    async with serving(upstream.handle) as url:
        connection = dial(url, leg("legacy", ear))
        await connection.request(request("logging/setLevel", level="info"))
        await connection.watch(WANTED)
        await until(lambda: bool(ear.heard))
        upstream.session += 1
        upstream.is_well = False
        with contextlib.suppress(SessionLost):  # unless the stream found out first
            await connection.request(call("x"))

        for _ in range(3):
            assert (await connection.request(call("x"))).result is not None
        ear.heard.clear()
        upstream.is_well = True

        await until(lambda: UPDATED in ear.methods())


async def test_a_session_that_was_lost_before_is_made_anew_for_a_subscription(dial: Dial) -> None:
    ear, upstream = Ear(), Upstream()
    async with serving(upstream.handle) as url:
        connection = dial(url, leg("legacy", ear))
        await connection.request(call("x"))
        upstream.session += 1
        await connection.watch(WANTED)
        assert upstream.seen.count("resources/subscribe") == 1
        await until(lambda: UPDATED in ear.methods())


class Upstream:
    """Opens its GET stream late, after refusing it so many times; what subscribes hears of an update at once.

    `answers` has to be set for it to answer that, and it fails, as log levels do, while it is not well; `seen` is what
    of this it was asked and did, in this order.
    """

    def __init__(self, *refusals: int, seconds: float | None = 0.0) -> None:
        """`seconds` until the stream opens; None is not before `opens` is set."""
        self.seen: list[str] = []
        self.opens, self.answers = asyncio.Event(), asyncio.Event()
        self.answers.set()
        self.session, self.is_well = 1, True
        self._refusals = list(refusals)
        self._seconds = seconds
        self._streams: list[web.StreamResponse] = []

    async def handle(self, asked: web.Request) -> web.StreamResponse:
        message = await asked.json() if asked.method == "POST" else {}
        if message.get("method") != "initialize" and asked.headers["mcp-session-id"] != str(self.session):
            return web.Response(status=404)
        return await self._answer(message) if message else await self._open(asked)

    async def _answer(self, message: dict[str, Any]) -> web.Response:
        if "id" not in message:
            return web.Response(status=202)
        if message["method"].startswith(("resources/", "logging/")) and not self.is_well:
            return web.Response(status=500)
        if message["method"].startswith("resources/"):
            self.seen.append(message["method"])
            await self.answers.wait()
            for stream in self._streams:
                update = {"jsonrpc": "2.0", "method": UPDATED, "params": message["params"]}
                await stream.write(b"data: " + msgspec.json.encode(update) + b"\n\n")
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": hello}
        return web.json_response(answer, headers={"mcp-session-id": str(self.session)})

    async def _open(self, asked: web.Request) -> web.StreamResponse:
        self.seen.append("GET")
        if self._refusals:
            return web.Response(status=self._refusals.pop(0))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.opens.wait(), self._seconds)
        self.seen.append("open")
        stream = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await stream.prepare(asked)
        self._streams.append(stream)
        try:
            await asyncio.Event().wait()
        finally:
            self._streams.remove(stream)
        return stream
