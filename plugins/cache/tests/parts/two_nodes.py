"""Two gateway processes on one key-value store, the database's, with the scripted upstream behind both."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from behind import Scripted

from toolway_testing.polling import eventually
from toolway_testing.ports import free_port
from toolway_testing.postgres import Postgres, execute
from toolway_testing.processes import META, ON_BOTH_DATABASES, serving

TABLES = """
[gateway]
bind = "{bind}"
data_dir = "{data}"
drain_delay = 0
keyvalue = "database"
pubsub = "database"
{database}
[plugins]
enable = ["cache"]
[plugins.cache]
shared = true
store_wait = 5
jitter = 0
rules = [{{ items = ["up/*"], read_only = true, ttl = 300, override = true }}]
[[upstreams]]
name = "up"
kind = "http"
endpoints = ["{upstream}"]
allow_private = true
retries = 0
[[servers]]
name = "all"
include = ["*/*"]
access = "public"
"""


class Nodes:
    """Both of them; `token` is the local admin's."""

    def __init__(self, urls: list[str], token: str, http: aiohttp.ClientSession) -> None:
        self.urls, self.token, self.http = urls, token, http

    async def api(self, at: int, method: str, path: str, body: Any = None) -> Any:
        """A request to the admin API of one."""
        url, headers = f"{self.urls[at]}/api/v1{path}", {"authorization": f"Bearer {self.token}"}
        async with self.http.request(method, url, json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def call(self, at: int, *, is_admin: bool = False, **arguments: Any) -> Any:
        """Call the tool of the upstream, as nobody or as the local admin; the result."""
        params = {"name": "up__echo_raw", "arguments": arguments, "_meta": META}
        fields = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "up__echo_raw"}
        fields |= {"accept": "application/json, text/event-stream"}
        if is_admin:
            fields["authorization"] = f"Bearer {self.token}"
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        async with self.http.post(f"{self.urls[at]}/servers/all/mcp", json=message, headers=fields) as answer:
            return (await answer.json(content_type=None))["result"]

    async def entries(self) -> tuple[int, int]:
        """How many copies each has."""
        one, two = [(await self.api(at, "GET", "/cache"))["entries"] for at in (0, 1)]
        return one, two


@pytest.fixture(scope="module", params=ON_BOTH_DATABASES)
def two_nodes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, process: str
) -> Iterator[tuple[list[str], str]]:
    """Their addresses, and the token of the local admin."""
    folder, database = tmp_path_factory.mktemp("two-nodes"), ""
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("postgres_server")
        execute(server, "create database two_caches")
        database = f'database = "literal:{server.url("two_caches")}"'
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    with ExitStack() as stack:
        logs = [
            stack.enter_context(serving(_file(folder, bind=address, database=database, upstream=process)))
            for address in addresses
        ]
        yield [f"http://{address}" for address in addresses], re.findall(r"twa_[\w-]+", logs[0].read_text())[0]


@pytest_asyncio.fixture
async def nodes(two_nodes: tuple[list[str], str], upstream: Scripted) -> AsyncIterator[Nodes]:
    """Both with nothing kept, and an upstream that forgot what it was asked."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        found = Nodes(*two_nodes, http)
        for at in (0, 1):
            await eventually(partial(_has_discovered, found, at))
        await found.api(0, "POST", "/cache/flush", {"everything": True})
        await upstream.send("DELETE", "/_requests")
        yield found


async def _has_discovered(nodes: Nodes, at: int) -> bool:
    return bool((await nodes.api(at, "GET", "/items"))["items"])


def _file(folder: Path, *, bind: str, **tables: str) -> Path:
    file = folder / f"{bind.rpartition(':')[2]}.toml"
    file.write_text(TABLES.format(bind=bind, data=folder / "data", **tables))
    return file
