"""Clients of all sorts that go on while something happens, of upstreams that remember."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
from callers import VERSION
from node import BOTH, META, Clients

DIARY = "stdio://diary"


class Unknown(AssertionError):
    """A worker does not know the tool."""


class Recalling(Clients):
    """Clients who do more than to nap."""

    async def ask(self, http: aiohttp.ClientSession, method: str, named: str = "", **params: Any) -> dict[str, Any]:
        """A modern request; `named` is what its header names."""
        headers = {
            **BOTH,
            "mcp-protocol-version": VERSION,
            "mcp-method": method,
            **({"mcp-name": named} if named else {}),
        }
        message = {"jsonrpc": "2.0", "id": 3, "method": method, "params": {**params, "_meta": META}}
        async with http.post(self.url, json=message, headers=headers) as answer:
            text = await answer.text()
            if "Unknown tool" in text:
                raise Unknown(text)
            assert answer.status == 200, (answer.status, text)
            result: dict[str, Any] = json.loads(text.strip().rpartition("data: ")[2])["result"]
            return result

    async def recall(self, http: aiohttp.ClientSession, upstream: str) -> dict[str, Any]:
        """What the upstream remembers."""
        name = f"recall_{upstream}"
        result = await self.ask(http, "tools/call", name, name=name, arguments={})
        seen: dict[str, Any] = json.loads(result["content"][0]["text"])
        return seen

    async def read(self, http: aiohttp.ClientSession) -> None:
        """The resource that is cached."""
        result = await self.ask(http, "resources/read", DIARY, uri=DIARY)
        assert result["contents"][0]["text"] == "read 1 times", result

    async def tools(self, http: aiohttp.ClientSession) -> None:
        """Everything that the server has."""
        names = {each["name"] for each in (await self.ask(http, "tools/list"))["tools"]}
        assert names == {"nap", "recall_http", "recall_stdio"}, names


@contextlib.asynccontextmanager
async def crowd(url: str) -> AsyncIterator[Recalling]:
    """Clients of all sorts, each with a connection of its own, two streams, and a session that lasts."""
    clients, opened = Recalling(url), asyncio.Semaphore(0)
    patient = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=patient) as http, asyncio.TaskGroup() as group:
        session = await clients.initialized(http)

        async def paced(once: Callable[[aiohttp.ClientSession], Awaitable[Any]], own: aiohttp.ClientSession) -> None:
            await once(own)
            await clients.call(own, 0.1)

        work: dict[str, Callable[[aiohttp.ClientSession], Awaitable[Any]]] = {
            "slow call": lambda own: clients.call(own, 0.4),
            "legacy call": lambda own: clients.legacy_call(own, 0.05),
            "call in one session": lambda own: clients.call_in_session(own, session, 0.05),
            "call of HTTP": lambda own: clients.recall(own, "http"),
            "call of a process": lambda own: clients.recall(own, "stdio"),
            "read": clients.read,
            "list": clients.tools,
        }
        for listen in (clients.listen, clients.legacy_listen):
            group.create_task(clients.attempt("stream", lambda own, listen=listen: listen(own, opened), http))  # type: ignore[misc]
        async with asyncio.timeout(10):
            for _ in range(2):
                await opened.acquire()
        for what, once in work.items():
            group.create_task(clients.repeat(what, lambda own, once=once: paced(once, own)))  # type: ignore[misc]
        try:
            yield clients
        finally:
            clients.is_over = True
