"""Upstreams that misbehave on order, and a gateway in front of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

RAW = Path(__file__).resolve().parents[4] / "tests/fixtures/raw_upstream.py"
SERVERS = [{"name": "all", "include": ["*/*"], "access": "public"}]
GOOD: dict[str, Any] = {"result": {"content": [], "resultType": "complete"}}
FAULT = "status_500"
TOOL = "up__result_raw"


class Scripted:
    """An upstream process under remote control."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def order(self, trick: str | None, method: str | None = "tools/call", times: int = -1) -> None:
        await self._send("PUT", "/_order", {"trick": trick, "method": method, "times": times})

    async def calls(self) -> int:
        """How many `tools/call` arrived."""
        return [each["rpc"] for each in await self._send("GET", "/_requests")].count("tools/call")

    async def reset(self) -> None:
        await self.order(None)
        await self._send("DELETE", "/_requests")

    async def _send(self, method: str, path: str, value: Any = None) -> Any:
        url = self.url.removesuffix("/mcp") + path
        async with aiohttp.ClientSession() as session, session.request(method, url, json=value) as answer:
            body = await answer.read()
            return msgspec.json.decode(body) if body else None


@pytest.fixture(scope="module")
def processes() -> Iterator[list[str]]:
    """Two upstreams; their URLs."""
    running = [subprocess.Popen([sys.executable, str(RAW)], stdout=subprocess.PIPE) for _ in range(2)]
    try:
        yield [each.stdout.readline().decode().split()[-1] for each in running if each.stdout]
    finally:
        for each in running:
            each.terminate()
            each.communicate(timeout=10)


@pytest.fixture
async def pair(processes: list[str]) -> list[Scripted]:
    scripted = [Scripted(url) for url in processes]
    for each in scripted:
        await each.reset()
    return scripted


@pytest.fixture
def upstream(pair: list[Scripted]) -> Scripted:
    return pair[0]


async def started(
    gateway: StartGateway, *behind: Scripted, limits: dict[str, Any] | None = None, **settings: Any
) -> RunningGateway:
    """A gateway that has discovered the upstreams `up` and `demo`."""
    endpoints = [each.url for each in behind]
    table = {"name": "up", "kind": "http", "endpoints": endpoints, "allow_private": True, "retries": 0, **settings}
    gate = await gateway(
        enable=["breaker"], plugins={"breaker": limits or {}}, upstreams=[table], servers=SERVERS, demo=True
    )
    await eventually(lambda: {"up__result_raw", "demo__echo"} <= _tools(gate))
    return gate


async def call(gate: RunningGateway, result: Any = None) -> str:
    """`good`, or the code of the error."""
    answer = await gate.call("up__result_raw", {"result": result or {"content": [], "resultType": "complete"}})
    return "good" if "result" in answer.content else str(answer.content["error"].get("data", {}).get("code", "fault"))


async def report(gate: RunningGateway) -> dict[str, Any]:
    found: dict[str, Any] = (await gate.api("GET", "/breakers/up")).content
    return found


async def circuit(gate: RunningGateway) -> dict[str, Any]:
    found: dict[str, Any] = (await report(gate))["endpoints"][0]
    return found


def _tools(gate: RunningGateway) -> set[str]:
    return {each.name for each in gate.gateway.plane.view("all").listed("tool")}


async def equals(found: Awaitable[Any], wanted: Any) -> bool:
    """Whether what is found is what is wanted; for `eventually`."""
    return bool(await found == wanted)
