"""A gateway whose configuration changes in every way there is, and its upstreams that remember."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import census
import keepalive
import running
from node import NAPPING, Node
from recalling import Recalling, Unknown
from stage import Replica

from toolway_testing.polling import eventually
from toolway_testing.ports import free_port

REMEMBERING = str(Path(__file__).with_name("remembering.py"))
ENABLED = [
    "json-logging",
    "masking",
    "audit",
    "rate-limit",
    "tokens",
    "rbac",
    "breaker",
    "balancer",
    "reload",
    "cache",
    "uvicorn",
    "census",
]
CACHED = (
    "[plugins.cache]\nrules = [\n"
    '    { items = ["*/recall_*"], ttl = 0 },\n    { items = ["*"], ttl = 3600, override = true },\n]\n'
)
WATCHED = "[plugins.reload]\nwatch_interval = 0.3\n"


@dataclass
class Configuration:
    """The files; attributes are what changes in them."""

    directory: Path
    workers: int
    upstreams: dict[str, str]
    bind: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    enable: list[str] = field(default_factory=lambda: list(ENABLED))
    page_size: int = 100
    rate: int = 100_000
    threshold: int = 50
    notes: str = "first"
    more: str = ""

    def __post_init__(self) -> None:
        self.url = f"http://{self.bind}"
        self.rotate("one")

    @property
    def file(self) -> Path:
        """The main one."""
        return self.directory / "toolway.toml"

    def save(self) -> None:
        """Write it as it is now, in one go."""
        part = self.file.with_suffix(".part")
        part.write_text(self._text())
        part.replace(self.file)

    def drop_in(self, name: str, text: str) -> None:
        """Write a file in the directory beside it."""
        directory = self.file.with_suffix(".d")
        directory.mkdir(exist_ok=True)
        (directory / name).write_text(text)

    def rotate(self, secret: str) -> None:
        """Another credential for an upstream, which the configuration only refers to."""
        (self.directory / "secret").write_text(secret)

    def _text(self) -> str:
        command = json.dumps([sys.executable, REMEMBERING])
        rate = f'[plugins.rate-limit]\nrules = [{{ name = "all", by = "global", rate = "{self.rate}/s" }}]\n'
        return (
            f'[gateway]\nbind = "{self.bind}"\npublic_url = "{self.url}"\ndata_dir = "{self.directory / "data"}"\n'
            f"workers = {self.workers}\ndrain_delay = 0\npage_size = {self.page_size}\n"
            f"[plugins]\nenable = {json.dumps(self.enable)}\n{WATCHED}{CACHED}{rate}shedding = {{ enabled = false }}\n"
            f"[plugins.breaker]\nminimum_calls = {self.threshold}\n"
            + running.upstream_table("nap", self.upstreams["nap"])
            + running.upstream_table("http", self.upstreams["http"]).rstrip()
            + f'\nauth = {{ type = "bearer", token = "file:{self.directory / "secret"}" }}\n\n'
            + f'[[upstreams]]\nname = "stdio"\nkind = "stdio"\ncommand = {command}\n\n'
            + running.upstream_table("changing", self.upstreams["nap"]).rstrip()
            + f'\ndescription = "{self.notes}"\n\n'
            + running.server_table("nap/*", "http/*", "stdio/*")
            + self.more
        )


@dataclass
class Reloading:
    """The gateway, as its operator sees it; `longest` is how many seconds a reload took at most."""

    node: Node
    files: Configuration
    token: str
    http: aiohttp.ClientSession
    reports: list[dict[str, Any]] = field(default_factory=list)
    longest: float = 0.0

    async def api(self, method: str, path: str, body: Any = None) -> Any:
        """On a connection of its own, so that any worker may answer."""
        headers = {"authorization": f"Bearer {self.token}", "connection": "close"}
        async with self.http.request(method, f"{self.node.url}{path}", json=body, headers=headers) as answer:
            assert answer.status == 200, (answer.status, await answer.text())
            return await answer.json() if answer.content_type.endswith("json") else await answer.text()

    async def hang_up(self) -> dict[str, Any]:
        """`kill -HUP`."""
        self.files.save()
        self.node.process.send_signal(signal.SIGHUP)
        return await self._next("SIGHUP")

    async def save(self) -> dict[str, Any]:
        """The file is saved, and noticed."""
        self.files.save()
        return await self._next("the files changed")

    async def post(self) -> dict[str, Any]:
        """`POST /api/v1/reload`."""
        self.files.save()
        report: dict[str, Any] = await self.api("POST", "/api/v1/reload", {})
        return await self._next(report["by"])

    async def command(self) -> dict[str, Any]:
        """`toolway reload`."""
        self.files.save()
        done = await self.toolway("reload")
        assert done.returncode == 0, done
        return await self._next("admin")

    async def toolway(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command, with the URL and token of this gateway."""
        command = [str(Path(sys.executable).with_name("toolway")), *arguments]
        environment = {**os.environ, "TOOLWAY_URL": self.node.url, "TOOLWAY_TOKEN": self.token, "COLUMNS": "200"}
        return await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, env=environment, timeout=60, check=False
        )

    async def of_each_worker(self, ask: Callable[[], Awaitable[Any]], key: str) -> list[Any]:
        """What each of them answers, told apart by one member; a new connection goes to any of them."""
        found: dict[Any, Any] = {}

        async def is_complete() -> bool:
            with contextlib.suppress(Unknown):  # to a worker that has only just begun
                answer = await ask()
                found[answer[key]] = answer
            return len(found) == self.files.workers

        await eventually(is_complete, 60, 0.05)
        return [found[each] for each in sorted(found)]

    async def census(self) -> list[Any]:
        """Of each worker, once no gateway is there any more that was replaced."""
        found: list[Any] = []

        async def is_alone() -> bool:
            found[:] = await self.of_each_worker(lambda: self.api("GET", "/api/v1/census"), "pid")
            return all(each["gateways"] <= 1 for each in found)

        await eventually(is_alone, 60, 0.2)
        return found

    async def recall(self, upstream: str) -> list[Any]:
        """What the upstream remembers, of each worker: both have a process of their own."""
        clients = Recalling(self.node.endpoint)

        async def ask() -> Any:
            async with aiohttp.ClientSession() as http:
                return await clients.recall(http, upstream)

        return await self.of_each_worker(ask, "pid") if upstream == "stdio" else [await ask()]

    async def _next(self, by: str) -> dict[str, Any]:
        """The report of the reload that was just asked for; whichever worker is asked knows it.

        If the change was noticed as one of the files before, its differences are in the report of that.
        """
        known, fresh = [each["at"] for each in self.reports], list[dict[str, Any]]()

        async def is_there() -> bool:
            items = (await self.api("GET", "/api/v1/reload"))["items"]
            fresh[:] = [each for each in items if each["at"] not in known]
            return any(each["by"] == by for each in fresh)

        await eventually(is_there, 60, 0.05)
        self.reports += fresh
        differences = [difference for each in fresh for difference in each["differences"]]
        return {**next(each for each in fresh if each["by"] == by), "differences": differences}


@contextlib.contextmanager
def gateway(directory: Path, workers: int) -> Iterator[tuple[Node, Configuration, str]]:
    """It runs, and has found what its upstreams have; with the local admin's token."""
    replicas = {"nap": Replica(NAPPING, directory), "http": Replica(REMEMBERING, directory)}
    with contextlib.ExitStack() as stack:
        for replica in replicas.values():
            stack.enter_context(replica.stack)
            replica.start()
        files = Configuration(directory, workers, {name: replica.url for name, replica in replicas.items()})
        files.save()
        command = [str(Path(sys.executable).with_name("toolway")), "serve", "--config", str(files.file)]
        log, environment = directory / "gateway.log", {"PYTHONPATH": census.installed(directory / "installed")}
        ready = lambda: running.answers(f"{files.url}/ready")  # noqa: E731
        node = Node(files.url, log, stack.enter_context(running.child(command, log, ready, environment)))
        running.poll(lambda: len(keepalive.children(node.process.pid)) >= workers, "not all workers", log)
        yield node, files, re.findall(r"twa_[\w-]+", log.read_text())[0]
