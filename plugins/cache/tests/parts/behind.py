"""A gateway with the cache in front of a scripted upstream."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

RAW = Path(__file__).resolve().parents[4] / "tests/fixtures/raw_upstream.py"
SERVERS = [{"name": "all", "include": ["*/*"], "access": "public"}]
RULES = [
    {"items": ["up/echo_raw"], "read_only": True, "ttl": 60},
    {"items": ["up/raw://*"], "ttl": 60, "override": True, "share": True},
]


class Scripted:
    """An upstream process under remote control."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def calls(self, method: str = "tools/call") -> int:
        """How many calls arrived."""
        return [each["rpc"] for each in await self.send("GET", "/_requests")].count(method)

    async def notify(self, method: str, **params: Any) -> int:
        """Say something on every open stream; how many there are."""
        told = await self.send("POST", "/_notify", {"jsonrpc": "2.0", "method": method, "params": params})
        return int(told["streams"])

    async def send(self, method: str, path: str, value: Any = None) -> Any:
        """One request to its remote control."""
        url = self.url.removesuffix("/mcp") + path
        async with aiohttp.ClientSession() as session, session.request(method, url, json=value) as answer:
            body = await answer.read()
            return msgspec.json.decode(body) if body else None


@pytest.fixture(scope="module")
def process() -> Iterator[str]:
    """The upstream; its URL."""
    running = subprocess.Popen([sys.executable, str(RAW)], stdout=subprocess.PIPE)
    try:
        yield running.stdout.readline().decode().split()[-1] if running.stdout else ""
    finally:
        running.terminate()
        running.communicate(timeout=10)


@pytest.fixture
async def upstream(process: str) -> Scripted:
    """The upstream as if it was new."""
    scripted = Scripted(process)
    await scripted.send("PUT", "/_order", {"trick": None})
    return scripted


async def started(gateway: StartGateway, behind: Scripted, *more: str, **settings: Any) -> RunningGateway:
    """A gateway that has discovered the upstream `up`."""
    table = {"name": "up", "kind": "http", "endpoints": [behind.url], "allow_private": True, "retries": 0}
    plugins = {"cache": {"rules": RULES, "jitter": 0, **settings}}
    gate = await gateway(enable=["cache", *more], plugins=plugins, upstreams=[table], servers=SERVERS)
    await eventually(lambda: len(gate.gateway.plane.view("all").listed("tool")) == 2)
    await behind.send("DELETE", "/_requests")
    return gate


async def read(gate: RunningGateway, uri: str = "raw://one") -> Any:
    """A resource."""
    return (await gate.mcp("resources/read", {"uri": uri}, server="all")).content["result"]
