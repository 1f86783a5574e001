"""Replicas need not speak the same transport or era: each is found out on first use, and again when it changed."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import msgspec
import pytest
from aiohttp import web
from upstream_parts import call, child, http_upstream, leg, serving

from toolway.bundled.upstreams.http import HttpKind
from toolway.errors import UpstreamProtocol
from toolway.hookspecs.routing import Connection, Endpoint, Era


def connect(http: HttpKind, era: Era, *urls: str) -> list[Connection]:
    """A connection to each replica of one upstream, none of which was probed."""
    upstream = http_upstream(http, urls[0], endpoints=urls)
    return [http.connect(upstream, Endpoint(url), leg(era)) for url in urls]


class Movable:
    """An HTTP+SSE server that can become one of streamable HTTP; counts what it is asked."""

    def __init__(self) -> None:
        self.is_old = True
        self.asked: Counter[str] = Counter()
        self._streams: list[web.StreamResponse] = []

    async def handle(self, asked: web.Request) -> web.StreamResponse:
        self.asked[f"{asked.method} {asked.path}"] += 1
        if asked.method == "GET" and self.is_old:
            return await self._stream(asked)
        if asked.method != "POST" or self.is_old is not (asked.path == "/messages"):
            return web.Response(status=405)
        message = await asked.json()
        if "id" not in message:
            return web.Response(status=202)
        result = {"protocolVersion": "2025-06-18", "capabilities": {}, "content": []}
        reply = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        if not self.is_old:
            return web.json_response(reply)
        stream = self._streams[int(asked.query["stream"])]
        await stream.write(b"event: message\ndata: %b\n\n" % msgspec.json.encode(reply))
        return web.Response(status=202)

    async def _stream(self, asked: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(asked)
        await response.write(b"event: endpoint\ndata: /messages?stream=%d\n\n" % len(self._streams))
        self._streams.append(response)
        while self.is_old:
            await asyncio.sleep(0.01)
        return response


async def test_every_replica_of_the_old_transport_is_found_on_first_use(http: HttpKind, everything_sse: str) -> None:
    with child("everything.py", "--sse") as other:
        for connection in connect(http, "legacy", everything_sse, other):
            assert (await connection.request(call("test_simple_text"))).result is not None
            await connection.close()


async def test_one_handshake_finds_out_for_all_who_wait(http: HttpKind) -> None:
    server = Movable()
    async with serving(server.handle) as url:
        connections = [connect(http, "legacy", url)[0] for _ in range(4)]
        await asyncio.gather(*(connection.request(call("x")) for connection in connections))

        assert (server.asked["POST /mcp"], server.asked["GET /mcp"]) == (1, 4)
        for connection in connections:
            await connection.close()


async def test_a_connection_follows_its_endpoint_to_another_transport(http: HttpKind) -> None:
    server = Movable()
    async with serving(server.handle) as url:
        (connection,) = connect(http, "legacy", url)
        await connection.request(call("x"))
        server.is_old = False
        while not connection._channel.lost.is_set():  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)

        assert (await connection.request(call("x"))).result is not None
        assert http._found[url].is_old is False
        await connection.close()


@pytest.mark.parametrize(
    ("era", "spoken"), [("modern", ("--era", "legacy")), ("modern", ("--sse",)), ("legacy", ("--era", "modern"))]
)
async def test_a_call_to_a_replica_of_the_other_era_counts_as_not_sent(
    era: Era, spoken: Any, http: HttpKind, everything: str
) -> None:
    with child("everything.py", *spoken) as url:
        fitting, other = connect(http, era, everything, url)
        with pytest.raises(UpstreamProtocol) as refused:
            await other.request(call("test_simple_text"))
        await other.close()

    assert refused.value.sent is False
    assert (await fitting.request(call("test_simple_text"))).result is not None
    await fitting.close()
