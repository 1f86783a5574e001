"""Two gateway processes on one database: what one does counts for the other at once."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from toolway_testing.polling import eventually, eventually_now
from toolway_testing.servers import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SECONDS = 40.0
VERSION = "2026-07-28"
META = {"io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {}}
FIELDS = {
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": VERSION,
    "mcp-method": "tools/call",
    "mcp-name": "demo__echo",
}
SERVERS = "\n".join(f'[[servers]]\nname = "{name}"\ninclude = ["demo/*"]' for name in ("billing", "support"))


class Processes:
    """The addresses of both; with SQLite they are two workers behind one. `token` is the local admin's."""

    def __init__(self, urls: list[str], token: str, http: aiohttp.ClientSession) -> None:
        self.urls, self.token, self.http = urls, token, http

    async def api(self, method: str, path: str, body: Any = None, *, at: int = 0) -> Any:
        headers = {"authorization": f"Bearer {self.token}"}
        url = f"{self.urls[at]}/api/v1/server-keys{path}"
        async with self.http.request(method, url, json=body, headers=headers) as response:
            assert response.status < 300, await response.text()
            return await response.json() if response.status != 204 else None

    async def call(self, credential: str, at: int = 0, server: str = "billing") -> bool:
        """Whether a call on a connection of its own succeeds."""
        params = {"name": "demo__echo", "arguments": {"text": "hello"}, "_meta": META}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = {**FIELDS, "authorization": f"Bearer {credential}"}
        async with self.http.post(f"{self.urls[at]}/servers/{server}/mcp", json=message, headers=headers) as response:
            answer = await response.json(content_type=None)
            return response.status == 200 and answer["result"]["content"][0]["text"] == "hello"

    async def works(self, credential: str, server: str = "billing") -> bool:
        """Whether it works at both, whichever process answers."""
        return all([await self.call(credential, at, server) for at in (0, 1) for _ in range(4)])

    async def fails(self, credential: str) -> bool:
        """Whether it works at none."""
        return not any([await self.call(credential, at) for at in (0, 1) for _ in range(4)])


@contextmanager
def serving(directory: Path, name: str, **settings: Any) -> Iterator[tuple[str, Path]]:
    """`toolway serve` with these settings of `[gateway]`; its address and log."""
    port = free_port()
    file, log = directory / f"{name}.toml", directory / f"{name}.log"
    lines = [f"{key} = {value!r}".replace("'", '"') for key, value in settings.items()]
    head = ["[gateway]", f'bind = "127.0.0.1:{port}"', f'data_dir = "{directory / "data"}"', "drain_delay = 0"]
    file.write_text("\n".join([*head, *lines, "[plugins]", 'enable = ["server-keys"]', SERVERS, ""]))
    command = [sys.executable, "-c", "from toolway.cli import main; main()", "serve", "--demo", "--config", str(file)]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        eventually_now(lambda: process.poll() is not None or log.read_text().count("Ctrl-C stops it.") >= 1, SECONDS)
        assert process.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}", log
    finally:
        process.terminate()
        process.wait(SECONDS)


@pytest_asyncio.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
async def processes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Processes]:
    """Two workers on SQLite, or two nodes on PostgreSQL."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            started = [stack.enter_context(serving(tmp_path, "one", workers=2))]
        else:
            database = f"literal:{request.getfixturevalue('postgres_url')}"
            started = [stack.enter_context(serving(tmp_path, name, database=database)) for name in ("one", "two")]
        token = re.findall(r"twa_[\w-]+", started[0][1].read_text())[0]
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        async with aiohttp.ClientSession(connector=connector) as http:
            found = Processes([url for url, _ in started] * (2 // len(started)), token, http)
            await eventually(lambda: found.works(token), SECONDS)
            yield found


async def test_keys_are_made_rotated_and_revoked_for_both(processes: Processes) -> None:
    made = await processes.api("POST", "", {"servers": ["billing"]}, at=0)
    other = await processes.api("POST", "", {"servers": ["support"]}, at=1)
    assert await processes.works(made["key"]) and await processes.works(other["key"], "support")

    new = await processes.api("POST", f"/{made['name']}/rotate", {"grace": "1h"}, at=1)
    assert await processes.works(made["key"]) and await processes.works(new["key"])

    newest = await processes.api("POST", f"/{made['name']}/rotate", {"grace": "0s"}, at=0)
    assert await within_a_second(processes, made["key"], new["key"])
    assert await processes.works(newest["key"])

    await processes.api("DELETE", f"/{made['name']}", at=1)
    assert await within_a_second(processes, newest["key"])
    assert await processes.works(other["key"], "support")


async def within_a_second(processes: Processes, *keys: str) -> bool:
    """Whether all of them are refused by both soon enough."""
    before = monotonic()
    for key in keys:
        await eventually(lambda key=key: processes.fails(key))  # type: ignore[misc]
    return monotonic() - before < 1.0
