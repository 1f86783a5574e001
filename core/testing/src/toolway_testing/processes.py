"""Real gateway processes: one, or two that share a database."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from toolway_testing.polling import eventually_now
from toolway_testing.ports import free_port

SECONDS = 40.0
"""How long a gateway may take to start, and to stop."""

VERSION = "2026-07-28"
META = {"io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {}}
FIELDS = {
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": VERSION,
    "mcp-method": "tools/call",
    "mcp-name": "demo__echo",
}

ON_BOTH_DATABASES = ("sqlite", pytest.param("postgres", marks=pytest.mark.server))
"""Parameters of a fixture that hands its request to `two_processes`."""


@dataclass(frozen=True)
class TwoProcesses:
    """The address of each, the same one twice for two workers of one gateway; `token` is the local admin's."""

    urls: list[str]
    token: str


class Clients:
    """Clients of the processes: `urls` has the address of each, `token` is the local admin's."""

    def __init__(self, urls: list[str], token: str, http: aiohttp.ClientSession) -> None:
        self.urls, self.token, self.http = urls, token, http

    async def api(self, method: str, path: str, body: Any = None, *, at: int = 0) -> Any:
        """A request to the admin API of one of them, which must go well."""
        headers = {"authorization": f"Bearer {self.token}"}
        async with self.http.request(method, f"{self.urls[at]}/api/v1{path}", json=body, headers=headers) as response:
            assert response.status < 300, await response.text()
            return await response.json() if response.status != 204 else None

    async def echo(self, credential: str, at: int = 0, server: str = "all") -> tuple[int, Any]:
        """The status and answer of a call of the demo's tool `echo` with `hello`."""
        params = {"name": "demo__echo", "arguments": {"text": "hello"}, "_meta": META}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = {**FIELDS, "authorization": f"Bearer {credential}"}
        url = f"{self.urls[at]}/servers/{server}/mcp"
        async with self.http.post(url, json=message, headers=headers) as response:
            return response.status, await response.json(content_type=None)


@contextmanager
def serving(file: Path, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[Path]:
    """`toolway serve` with this configuration and these options until the context ends; its log."""
    log = file.with_suffix(".log")
    command = [sys.executable, "-c", "from toolway.cli import main; main()", "serve", *options, "--config", str(file)]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
        )
    try:
        eventually_now(lambda: process.poll() is not None or "Ctrl-C stops it." in log.read_text(), SECONDS)
        assert process.poll() is None, log.read_text()
        yield log
    finally:
        process.terminate()
        process.wait(SECONDS)


@contextmanager
def two_processes(
    request: pytest.FixtureRequest, directory: Path, tables: str, **settings: Any
) -> Iterator[TwoProcesses]:
    """Two workers on SQLite, or two nodes on PostgreSQL, with the demo server behind them.

    `settings` are those of `[gateway]`, `tables` the rest of the configuration.
    """
    with ExitStack() as stack:
        if request.param == "sqlite":
            names, settings = ["one"], {**settings, "workers": 2}
        else:
            database = f"literal:{request.getfixturevalue('postgres_url')}"
            names, settings = ["one", "two"], {**settings, "database": database}
        files = [_configuration(directory, name, tables, settings) for name in names]
        logs = [stack.enter_context(serving(file, "--demo")) for file, _ in files]
        token = re.findall(r"twa_[\w-]+", logs[0].read_text())[0]
        yield TwoProcesses([url for _, url in files] * (2 // len(files)), token)


def _configuration(directory: Path, name: str, tables: str, settings: Mapping[str, Any]) -> tuple[Path, str]:
    """The file, and the address that it says."""
    address = f"127.0.0.1:{free_port()}"
    known = {"bind": address, "data_dir": str(directory / "data"), "drain_delay": 0, **settings}
    lines = [f"{key} = {value!r}".replace("'", '"') for key, value in known.items()]
    file = directory / f"{name}.toml"
    file.write_text("\n".join(["[gateway]", *lines, tables, ""]))
    return file, f"http://{address}"
