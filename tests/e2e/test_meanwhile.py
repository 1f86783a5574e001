"""What changes or ends while something else is on its way: sessions, streams, credentials, parked calls."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import running
from aiohttp import web
from msgspec import Raw

from toolway.gateway.exchange import Exchange
from toolway.gateway.sessions import Record
from toolway.gateway.streams import EventStream
from toolway.hookspecs.auth import ANONYMOUS
from toolway.hookspecs.routing import ClientProfile, Reply
from toolway.mcp.messages import decode
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

LEGACY = "2025-11-25"
ACCEPT = {"accept": "application/json, text/event-stream"}
PUBLIC = [{"name": "pub", "access": "public", "naming": "plain", "include": ["up/*"]}]
HELLO = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


class Legacy:
    """A client with a session."""

    def __init__(self, gate: RunningGateway, server: str) -> None:
        self._gate, self._url, self._headers = gate, f"{gate.url}/servers/{server}/mcp", dict(ACCEPT)

    async def begin(self) -> Legacy:
        async with self._send("POST", "initialize", HELLO) as answer:
            self._headers |= {"mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": LEGACY}
        return self

    async def ask(self, method: str, params: dict[str, Any] | None = None) -> int:
        """The status of the answer."""
        async with self._send("POST", method, params) as answer:
            await answer.read()
            return answer.status

    async def delete(self) -> int:
        async with self._send("DELETE") as answer:
            return answer.status

    def listen(self, last: str = "") -> aiohttp.client._RequestContextManager:
        return self._send("GET", last=last)

    def _send(
        self, verb: str, method: str = "", params: dict[str, Any] | None = None, last: str = ""
    ) -> aiohttp.client._RequestContextManager:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}} if method else None
        headers = self._headers | ({"last-event-id": last} if last else {})
        return self._gate.http.request(verb, self._url, json=message, headers=headers)


async def legacy(gate: RunningGateway, server: str = "all") -> Legacy:
    return await Legacy(gate, server).begin()


def upstream(url: str, **settings: Any) -> dict[str, Any]:
    return {"name": "up", "kind": "http", "endpoints": [url], "allow_private": True, **settings}


async def test_a_stream_is_read_again_from_before_what_is_kept(gateway: StartGateway) -> None:
    gate = await gateway(demo=True)
    client = await legacy(gate)
    (session,) = gate.gateway.plane.sessions._by_id.values()

    async def first_event(last: str = "") -> str:
        async with client.listen(last) as stream:
            event = (await stream.content.readuntil(b"\n\n")).decode()
        await eventually(lambda: not session.attached)
        return event.partition("id: ")[2].partition("\n")[0]

    first = await first_event()
    session.notify("notifications/tools/list_changed", {})
    await first_event(first)
    await first_event()

    async with client.listen(first) as stream, asyncio.timeout(5):
        await stream.content.readuntil(b"\n\n")
        session.notify("notifications/prompts/list_changed", {})
        while b"prompts/list_changed" not in await stream.content.readuntil(b"\n\n"):
            pass


async def test_a_deleted_session_is_gone_whatever_comes_at_the_same_time(gateway: StartGateway) -> None:
    gate = await gateway(demo=True, keyvalue="database", pubsub="database")
    clients = [await legacy(gate) for _ in range(5)]

    for client in clients:
        await asyncio.gather(client.delete(), *(client.ask("ping") for _ in range(3)))

    assert [await client.ask("ping") for client in clients] == [404] * 5


async def test_nobody_listens_for_a_session_that_ended_while_its_stream_was_opened(gateway: StartGateway) -> None:
    gate = await gateway(demo=True, keyvalue="database", pubsub="database")

    async def listen(client: Legacy) -> None:
        async with client.listen() as stream:
            await stream.read()

    for turns in range(0, 60, 4):
        client = await legacy(gate)
        listening = asyncio.create_task(listen(client))
        for _ in range(turns):
            await asyncio.sleep(0)
        await client.delete()
        await asyncio.wait_for(listening, 5)

    await eventually(lambda: not gate.gateway.plane.hub.listeners)


async def test_a_stream_whose_session_was_dropped_while_it_was_opened_can_be_ended(
    gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = await gateway(demo=True)
    client, sessions, streams = await legacy(gate), gate.gateway.plane.sessions, gate.gateway.plane.streams
    keyvalue, goes_on = sessions._keyvalue, asyncio.Event()
    compare_and_set = keyvalue.compare_and_set

    async def slow(*arguments: Any, **options: Any) -> bool:
        await goes_on.wait()
        return await compare_and_set(*arguments, **options)

    async def listen() -> None:
        async with client.listen() as stream:
            await stream.read()

    monkeypatch.setattr(keyvalue, "compare_and_set", slow)
    listening = asyncio.create_task(listen())
    await eventually(lambda: streams.open)
    sessions.drop(lambda principal: True)
    goes_on.set()
    await eventually(lambda: any(each.attached for each in sessions._by_id.values()))
    streams.end()

    await asyncio.wait_for(listening, 5)


@pytest.fixture
def old(tmp_path: Path) -> Iterator[str]:
    """A scripted upstream of the handshake era."""
    with running.raw_upstream(tmp_path, "--era", "legacy") as url:
        yield url


async def test_a_subscription_outlives_a_session_that_the_upstream_lost(gateway: StartGateway, old: str) -> None:
    gate, base = await gateway(upstreams=[upstream(old)], servers=PUBLIC), old.rpartition("/")[0]
    await eventually(lambda: gate.gateway.plane.view("pub").listed("tool"))
    client = await legacy(gate, "pub")
    update = {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "raw://one"}}

    async def is_told(stream: aiohttp.ClientResponse) -> None:
        await gate.http.post(f"{base}/_notify", json=update)
        async with asyncio.timeout(8):
            while b"resources/updated" not in await stream.content.readuntil(b"\n\n"):
                pass

    async with client.listen() as stream:
        await client.ask("resources/subscribe", {"uri": "raw://one"})
        await is_told(stream)
        await gate.http.delete(f"{base}/_sessions")
        assert await client.ask("tools/call", {"name": "echo_raw", "arguments": {}}) == 200
        await is_told(stream)


class Guarded:
    """A modern upstream that keeps the key that each call comes with; `slow` waits until it is let go."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.let_go = asyncio.Event()
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        message = await request.json()
        method, listed = message["method"], {"ttlMs": 0, "cacheScope": "private"}
        if method == "server/discover":
            result: dict[str, Any] = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, **listed}
        elif method == "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("slow", "fast")]
            result = {"tools": tools, **listed}
        else:
            if message["params"]["name"] == "slow":
                await self.let_go.wait()
            self.keys.append(request.headers["x-key"])
            result = {"content": []}
        return web.json_response(
            {"jsonrpc": "2.0", "id": message["id"], "result": {"resultType": "complete", **result}}
        )


@pytest_asyncio.fixture
async def guarded() -> AsyncIterator[Guarded]:
    made, app = Guarded(), web.Application()
    app.router.add_route("*", "/mcp", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
    yield made
    await runner.cleanup()


async def test_a_call_that_waited_brings_no_old_credential_back(gateway: StartGateway, guarded: Guarded) -> None:
    gate = await gateway(servers=PUBLIC)
    plane = gate.gateway.plane
    key = {"type": "header", "name": "x-key", "value": "literal:old"}
    body = upstream(guarded.url, in_flight=1, auth=key)
    assert (await gate.api("POST", "/upstreams", body)).status == 201
    await eventually(lambda: plane.view("pub").listed("tool"))
    slow = asyncio.create_task(gate.call("slow", server="pub"))
    await eventually(lambda: plane.attempts.queues.total == 1)
    waiting = asyncio.create_task(gate.call("fast", server="pub"))
    await eventually(lambda: plane.attempts.queues.queued == 1)

    before = plane.catalog.snapshot.upstreams["up"].upstream
    assert (await gate.api("PUT", "/upstreams/up", body | {"auth": key | {"value": "literal:new"}})).status == 200
    await eventually(lambda: plane.catalog.snapshot.upstreams["up"].upstream != before)
    guarded.let_go.set()
    answers = [*await asyncio.gather(slow, waiting), await gate.call("fast", server="pub")]

    assert [each.status for each in answers] == [200] * 3
    assert guarded.keys == ["old", "new", "new"]


async def test_a_parked_call_that_ended_is_answered_and_is_no_failure(
    gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    gate = await gateway(demo=True)
    plane = gate.gateway.plane
    await eventually(lambda: plane.view("all").listed("tool"))
    name = plane.view("all").listed("tool")[0].name
    client = ClientProfile("2026-07-28", {"elicitation": {}})
    asked = Exchange(1, ANONYMOUS, client, {}, EventStream(), plane.parking)
    asked.begin("tools/call", {"name": Raw(json.dumps(name).encode()), "arguments": Raw(b"{}")}, {}, "all")
    asking = asyncio.create_task(asked.ask("elicitation/create", Raw(b'{"message":"?"}')))
    await eventually(lambda: asked.stream.closed)
    state = json.loads(asked.stream.events[-1][1])["result"]["requestState"]

    asking.cancel()
    await asyncio.wait([asking])
    asked.end()
    asked.finish(Reply(Raw(b'{"content":[],"resultType":"complete"}')))
    params = {"name": name, "arguments": {}, "requestState": state, "inputResponses": {}}
    answer = await gate.mcp("tools/call", params)

    assert answer.content["result"] == {"content": [], "resultType": "complete"}
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


async def test_an_id_is_free_again_when_its_call_was_cancelled_before_it_began(gateway: StartGateway) -> None:
    gate = await gateway(demo=True)
    plane, transport = gate.gateway.plane, gate.gateway.endpoint._fronts[3]
    await eventually(lambda: plane.view("all").listed("tool"))
    session = await plane.sessions.create(ANONYMOUS, "all", "2024-11-05", Record())
    session.attach(None)
    params = {"name": plane.view("all").listed("tool")[0].name, "arguments": {}}
    called = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params}
    gone = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}}

    for message in (called, gone):
        body = json.dumps(message).encode()
        await transport._take(session, ANONYMOUS, decode(body), body)

    await eventually(lambda: 5 not in session.exchanges)
