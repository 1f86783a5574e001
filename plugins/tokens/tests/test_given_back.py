"""A one-time token whose call fails: it comes back when its upstream cannot have seen the call, and only then."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from aiohttp import web

from toolway.cli import demo
from toolway_testing.gateway import Answer, RunningGateway, StartGateway
from toolway_testing.polling import eventually
from toolway_testing.ports import free_port


class Upstream:
    """An MCP server that can be stopped and started; `cuts` means that it receives prompts and answers no more."""

    def __init__(self) -> None:
        self.port = free_port()
        self.cuts = False
        self.received = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/mcp", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        message = await request.json()
        if message["method"] == "prompts/get":
            self.received += 1
            if self.cuts and request.transport is not None and self._runner is not None:
                for site in list(self._runner.sites):
                    await site.stop()
                request.transport.abort()
        answer = demo.answer(message)
        return web.Response(status=202) if answer is None else web.json_response(answer)


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[Upstream]:
    found = Upstream()
    await found.start()
    yield found
    await found.stop()


@pytest_asyncio.fixture
async def gate(upstream: Upstream, gateway: StartGateway) -> RunningGateway:
    """In front of the upstream, which is said to have a second endpoint."""
    endpoints = [f"http://127.0.0.1:{port}/mcp" for port in (upstream.port, free_port())]
    table = {"name": "u", "kind": "http", "endpoints": endpoints, "allow_private": True}
    gate = await gateway(enable=["tokens"], upstreams=[table], servers=[{"name": "s", "include": ["u/*"]}])
    await eventually(lambda: gate.gateway.plane.view("s").listed("prompt"))
    return gate


async def one_time(gate: RunningGateway) -> str:
    answer = await gate.api("POST", "/tokens", {"single_use": True})
    return str(answer.content["token"])


async def greet(gate: RunningGateway, token: str) -> Answer:
    headers = {"authorization": f"Bearer {token}"}
    return await gate.mcp("prompts/get", {"name": "u__greet"}, server="s", headers=headers)


async def test_it_comes_back_when_no_endpoint_could_be_reached(gate: RunningGateway, upstream: Upstream) -> None:
    token = await one_time(gate)
    await upstream.stop()
    failed = await greet(gate, token)
    assert failed.content["error"]["data"]["code"] == "upstream_unreachable"

    await upstream.start()

    assert "result" in (await greet(gate, token)).content
    assert (await greet(gate, token)).status == 401
    assert upstream.received == 1


async def test_it_is_used_when_one_endpoint_has_seen_the_call_and_others_could_not_be_reached(
    gate: RunningGateway, upstream: Upstream
) -> None:
    token = await one_time(gate)
    upstream.cuts = True

    failed = await greet(gate, token)

    assert failed.content["error"]["data"]["code"] == "upstream_unreachable"
    assert upstream.received == 1
    assert (await greet(gate, token)).status == 401
