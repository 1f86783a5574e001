"""Clients that call through a gateway and remember what they got."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import aiohttp

VERSION = "2026-07-28"
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


@dataclass(frozen=True)
class Outcome:
    """What one request got: `good` or the code of the error; begin and duration in seconds."""

    method: str
    code: str
    begun: float
    seconds: float


@dataclass
class Callers:
    """Clients of one server of a gateway."""

    url: str
    http: aiohttp.ClientSession
    seen: list[Outcome] = field(default_factory=list)

    async def ask(self, method: str, **params: Any) -> Outcome:
        """One request."""
        meta = {"io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {}}
        headers = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": VERSION,
            "mcp-method": method,
        }
        if method in NAMED:
            headers["mcp-name"] = params[NAMED[method]]
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
        begun = perf_counter()
        async with self.http.post(self.url, json=message, headers=headers) as response:
            text = await response.text()
            code = "good" if '"result"' in text else _code(await response.json(content_type=None))
        outcome = Outcome(method, code, begun, perf_counter() - begun)
        self.seen.append(outcome)
        return outcome

    async def call(self, tool: str, **arguments: Any) -> Outcome:
        """`tools/call`."""
        return await self.ask("tools/call", name=tool, arguments=arguments)

    @contextlib.asynccontextmanager
    async def busy(self, *requests: tuple[str, dict[str, Any]], each: int = 4) -> AsyncIterator[None]:
        """While the context lasts, so many clients repeat each of the requests."""
        stop = asyncio.Event()

        async def repeat(method: str, params: dict[str, Any]) -> None:
            while not stop.is_set():
                await self.ask(method, **params)

        async with asyncio.TaskGroup() as group:
            for method, params in requests:
                for _ in range(each):
                    group.create_task(repeat(method, params))
            try:
                yield
            finally:
                stop.set()

    def failed(self, method: str) -> int:
        """How many requests of that method failed."""
        return sum(1 for each in self.seen if each.method == method and each.code != "good")

    def total(self, method: str) -> int:
        """How many there were."""
        return sum(1 for each in self.seen if each.method == method)


@contextlib.asynccontextmanager
async def callers(url: str) -> AsyncIterator[Callers]:
    """Clients of the server at `url`."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        yield Callers(url, http)


def median_ms(outcomes: list[Outcome]) -> float:
    """The median duration, in milliseconds."""
    return statistics.median(each.seconds for each in outcomes) * 1000


def _code(content: dict[str, Any]) -> str:
    error = content.get("error", {})
    return str(error.get("data", {}).get("code", error.get("message", "?")))
