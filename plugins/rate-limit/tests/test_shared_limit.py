"""Two gateway processes that share a limit in their database: what one admits counts for the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from toolway_testing.polling import eventually
from toolway_testing.processes import ON_BOTH_DATABASES, SECONDS, two_processes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

VERSION = "2026-07-28"
META = {"io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {}}
FIELDS = {"accept": "application/json, text/event-stream", "mcp-protocol-version": VERSION}
BURST = 60
SETTINGS = f"""
[plugins]
enable = ["rate-limit"]

[plugins.rate-limit]
shared = true
store_wait = 10
shedding = {{ enabled = false }}
rules = [{{ name = "callers", rate = "2/h", burst = {BURST} }}]

[[servers]]
name = "open"
access = "public"
include = ["demo/*"]
"""


class Processes:
    """The addresses of both; with SQLite they are two workers behind one."""

    def __init__(self, urls: list[str], token: str, http: aiohttp.ClientSession) -> None:
        self.urls, self.token, self.http = urls, token, http

    async def call(self, number: int) -> int:
        """The status of a call on a connection of its own."""
        params = {"name": "demo__echo", "arguments": {"text": "hello"}, "_meta": META}
        return (await self._post(number, "tools/call", params))[0]

    async def has_tools(self) -> bool:
        """Whether the demo server is there, whichever process answers."""
        answers = [await self._post(number, "tools/list", {"_meta": META}) for number in range(8)]
        return all(status == 200 and answer["result"]["tools"] for status, answer in answers)

    async def nodes(self) -> list[dict[str, Any]]:
        """What processes tell of their limits."""
        headers = {"authorization": f"Bearer {self.token}"}
        found = []
        for number in range(16):
            url = f"{self.urls[number % len(self.urls)]}/api/v1/rate-limits"
            async with self.http.get(url, headers=headers) as response:
                found.append(await response.json())
        return found

    async def _post(self, number: int, method: str, params: dict[str, Any]) -> tuple[int, Any]:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        url = f"{self.urls[number % len(self.urls)]}/servers/open/mcp"
        named = {"mcp-name": params["name"]} if "name" in params else {}
        async with self.http.post(url, json=message, headers={**FIELDS, "mcp-method": method, **named}) as response:
            return response.status, await response.json(content_type=None)


@pytest_asyncio.fixture(params=ON_BOTH_DATABASES)
async def processes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Processes]:
    """Two workers on SQLite, or two nodes on PostgreSQL."""
    with two_processes(request, tmp_path, SETTINGS) as both:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=20)) as http:
            found = Processes(both.urls, both.token, http)
            await eventually(found.has_tools, SECONDS)
            yield found


async def test_together_they_admit_what_the_limit_says(processes: Processes) -> None:
    statuses = await asyncio.gather(*(processes.call(number) for number in range(3 * BURST)))
    statuses += [await processes.call(number) for number in range(8)]

    shown = await processes.nodes()

    assert set(statuses) == {200, 429}
    assert BURST - 6 <= statuses.count(200) <= BURST
    assert {each["counted"] for each in shown} == {"shared"} and {each["store"] for each in shown} == {"works"}
    refusing = {each["node"] for each in shown if each["rules"][0]["refused"]}
    assert len(refusing) == 2
