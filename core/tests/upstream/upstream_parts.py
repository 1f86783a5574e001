"""What the tests of upstreams are made of: fixture programs, small servers, peers that remember what they heard."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from msgspec import Raw
from pydantic import BaseModel

from toolway.bundled.upstreams.http import HttpKind
from toolway.bundled.upstreams.stdio import StdioKind
from toolway.errors import ClientCannot
from toolway.hookspecs.routing import ClientProfile, Connection, Era, Leg, Upstream, UpstreamRequest
from toolway.hookspecs.secrets import Challenge

FIXTURES = Path(__file__).parents[3] / "tests" / "fixtures"
PATIENCE = 20.0
Dial = Callable[..., Connection]


class Literals:
    """Resolves `literal:` references only."""

    async def get(self, reference: str) -> str:
        return reference.removeprefix("literal:")

    def schemes(self) -> tuple[str, ...]:
        return ("literal",)

    def known(self) -> frozenset[str]:
        return frozenset()

    def know(self, *values: str) -> None:
        """Nobody asks."""


class Ear:
    """A peer that keeps what it hears and answers with `answers[method]`; an exception there is raised."""

    def __init__(self, **answers: Any) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.asked: list[tuple[str, Any]] = []
        self.answers = {name.replace("_", "/"): answer for name, answer in answers.items()}
        self.dismissed = 0

    def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        self.heard.append((method, {key: msgspec.json.decode(value) for key, value in params.items()}))

    async def ask(self, method: str, params: Raw) -> Raw:
        self.asked.append((method, msgspec.json.decode(params)))
        answer = self.answers.get(method)
        if answer is None:
            raise ClientCannot(f"the client did not declare {method}")
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, asyncio.Event):
            await self._dismissable(answer)
        return Raw(msgspec.json.encode({} if isinstance(answer, asyncio.Event) else answer))

    async def _dismissable(self, event: asyncio.Event) -> None:
        try:
            await event.wait()
        except asyncio.CancelledError:
            self.dismissed += 1
            raise

    def methods(self) -> list[str]:
        return [method for method, _ in self.heard]


def raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def request(method: str, peer: Ear | None = None, *, token: str | None = None, **params: Any) -> UpstreamRequest:
    """A request for `method`; `name` is mirrored as the gateway does."""
    name = params.get("uri") if method == "resources/read" else params.get("name")
    return UpstreamRequest(
        method,
        {key: value if isinstance(value, Raw) else raw(value) for key, value in params.items()},
        {"progressToken": raw(token)} if token else {},
        peer or Ear(),
        time.monotonic() + PATIENCE,
        name if isinstance(name, str) else None,
        first_byte=PATIENCE,
    )


def call(tool: str, peer: Ear | None = None, *, token: str | None = None, **arguments: Any) -> UpstreamRequest:
    return request("tools/call", peer, token=token, name=tool, arguments=arguments)


async def until(holds: Callable[[], bool], what: str = "it did not happen in time") -> None:
    """Poll until `holds`."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


def leg(
    era: Era, peer: Ear | None = None, capabilities: dict[str, Any] | None = None, authorize: Any = None, key: str = ""
) -> Leg:
    async def nothing(challenge: Challenge | None) -> Mapping[str, str]:
        return {}

    version = "2026-07-28" if era == "modern" else "2025-11-25"
    return Leg(era, key, ClientProfile(version, capabilities or {}), peer or Ear(), authorize or nothing)


class Credential(BaseModel):
    """Upstreams that have one ask the leg for headers."""


def http_upstream(kind: HttpKind, url: str, **settings: Any) -> Upstream:
    read = kind.settings.model_validate({"name": "up", "endpoints": [url], "allow_private": True, **settings})
    return Upstream("up", "http", read, kind.endpoints(read), Credential())


def stdio_upstream(kind: StdioKind, *command: str, **settings: Any) -> Upstream:
    read = kind.settings.model_validate({"name": "up", "command": list(command), **settings})
    return Upstream("up", "stdio", read, kind.endpoints(read))


def fixture_command(*arguments: str) -> list[str]:
    return [sys.executable, str(FIXTURES / "everything.py"), *arguments]


@contextlib.contextmanager
def child(script: str, *arguments: str) -> Iterator[str]:
    """A fixture program; gives the URL it listens on."""
    process = subprocess.Popen([sys.executable, str(FIXTURES / script), *arguments], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        assert line.startswith("listening on "), f"{script} did not start"
        yield line.split()[-1]
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


class Scripted:
    """The raw upstream under remote control."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._base = url.removesuffix("/mcp")

    async def order(self, trick: str, method: str = "tools/call", times: int = -1) -> None:
        await self._send("PUT", "/_order", {"trick": trick, "method": method, "times": times})

    async def lists(self, **wanted: bool) -> None:
        await self._send("PUT", "/_lists", wanted)

    async def notify(self, method: str, **params: Any) -> int:
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        return int((await self._send("POST", "/_notify", message))["streams"])

    async def forget_sessions(self) -> None:
        await self._send("DELETE", "/_sessions")

    async def requests(self, rpc: str | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self._send("GET", "/_requests")
        return [entry for entry in found if rpc is None or entry["rpc"] == rpc]

    async def reset(self) -> None:
        await self._send("PUT", "/_order", {"trick": None})
        await self._send("PUT", "/_lists", {})
        await self._send("DELETE", "/_requests")

    async def _send(self, method: str, path: str, value: Any = None) -> Any:
        async with aiohttp.ClientSession() as session, session.request(method, self._base + path, json=value) as answer:
            body = await answer.read()
            return msgspec.json.decode(body) if body else None


@contextlib.asynccontextmanager
async def serving(handler: Callable[[web.Request], Any]) -> AsyncIterator[str]:
    """A small HTTP server of the test's own; gives the URL of its `/mcp`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        await runner.cleanup()


def opened() -> set[str]:
    """The descriptors of this process."""
    return {each.name for each in Path("/proc/self/fd").iterdir()}
