"""Two gateway processes on one database: what one does counts for the other at once."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections import Counter
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
RUNS, AT_ONCE = 20, 50
VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
}
FIELDS = {
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": VERSION,
    "mcp-method": "tools/call",
    "mcp-name": "demo__echo",
}


class Processes:
    """The addresses of both; with SQLite they are two workers behind one. `token` is the local admin's."""

    def __init__(self, urls: list[str], token: str, http: aiohttp.ClientSession) -> None:
        self.urls, self.token, self.http = urls, token, http

    async def api(self, method: str, path: str, body: Any = None, *, at: int = 0) -> Any:
        headers = {"authorization": f"Bearer {self.token}"}
        async with self.http.request(method, f"{self.urls[at]}/api/v1{path}", json=body, headers=headers) as response:
            assert response.status < 300, await response.text()
            return await response.json() if response.status != 204 else None

    async def call(self, token: str, at: int = 0) -> str:
        """The outcome of one call on a connection of its own: a text, or what went wrong."""
        params = {"name": "demo__echo", "arguments": {"text": "hello"}, "_meta": META}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = {**FIELDS, "authorization": f"Bearer {token}"}
        url = f"{self.urls[at]}/servers/all/mcp"
        async with self.http.post(url, json=message, headers=headers) as response:
            answer = await response.json(content_type=None)
            if response.status != 200:
                return str(response.status)
            return str(answer["result"]["content"][0]["text"]) if "result" in answer else str(answer["error"])


@contextmanager
def serving(directory: Path, name: str, **settings: Any) -> Iterator[tuple[str, Path]]:
    """`toolway serve` with these settings of `[gateway]`; its address and log."""
    port = free_port()
    file, log = directory / f"{name}.toml", directory / f"{name}.log"
    lines = [f"{key} = {value!r}".replace("'", '"') for key, value in settings.items()]
    head = ["[gateway]", f'bind = "127.0.0.1:{port}"', f'data_dir = "{directory / "data"}"', "drain_delay = 0"]
    more = ['public_url = "http://gate.example"', *lines, "[plugins]", 'enable = ["tokens"]', ""]
    file.write_text("\n".join([*head, *more]))
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
            names = ("one", "two")
            started = [stack.enter_context(serving(tmp_path, name, database=database)) for name in names]
        token = re.findall(r"twa_[\w-]+", started[0][1].read_text())[0]
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        async with aiohttp.ClientSession(connector=connector) as http:
            found = Processes([url for url, _ in started] * (2 // len(started)), token, http)
            await eventually(lambda: _ready(found), SECONDS)
            yield found


async def _ready(processes: Processes) -> bool:
    return all([await processes.call(processes.token, at) == "hello" for at in (0, 1) for _ in range(4)])


async def test_of_fifty_uses_of_a_one_time_token_exactly_one_succeeds_twenty_times_in_a_row(
    processes: Processes,
) -> None:
    for _ in range(RUNS):
        token = (await processes.api("POST", "/tokens", {"single_use": True}))["token"]

        uses = [processes.call(token, number % 2) for number in range(AT_ONCE)]
        outcomes = Counter(await asyncio.gather(*uses))

        assert outcomes.pop("hello") == 1, outcomes
        assert outcomes.keys() <= {"401", "429"}


async def test_a_revocation_counts_at_the_other_process_within_a_second(processes: Processes) -> None:
    made = await processes.api("POST", "/tokens", {})
    for _ in range(8):
        assert await processes.call(made["token"], 1) == "hello"

    await processes.api("DELETE", f"/tokens/{made['name']}")
    before = monotonic()
    await eventually(lambda: _refused_by_all(processes, made["token"]))

    assert monotonic() - before < 1.0


async def _refused_by_all(processes: Processes, token: str) -> bool:
    return all([await processes.call(token, 1) in ("401", "429") for _ in range(6)])


async def test_a_token_of_one_process_with_a_key_just_made_is_good_at_the_other(processes: Processes) -> None:
    await processes.api("POST", "/token-keys/rotate", at=0)
    token = (await processes.api("POST", "/tokens", {}, at=0))["token"]

    assert await processes.call(token, 1) == "hello"
