"""Gateways with this plugin: in the test's process, and as a process with workers."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import aiohttp

from toolway.hookspecs.telemetry import RequestWatcher, Served
from toolway.plugin import Kernel, Plugin, Settings, hookimpl
from toolway_testing.distributions import distributed
from toolway_testing.gateway import RunningGateway
from toolway_testing.polling import eventually_now
from toolway_testing.ports import free_port

OPENMETRICS = "application/openmetrics-text"
TRACE = "0af7651916cd43dd8448eb211c80319c"
SECONDS = 60.0


async def page(gate: RunningGateway, accept: str = "", *, url: str = "", token: str | None = None) -> str:
    """The page, as the local admin unless another token is given."""
    headers = {"authorization": f"Bearer {gate.token if token is None else token}", "accept": accept}
    async with aiohttp.ClientSession() as http, http.get(f"{url or gate.url}/metrics", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.text()


def tracing(directory: Path) -> Path:
    """Put a distribution into the directory whose plugin `tracing` says that each request has the trace `TRACE`."""
    return distributed(directory, "tracing", f"{__name__}:TracingPlugin")


class TracingPlugin(Plugin[Settings]):
    """In place of a plugin that traces."""

    name = "tracing"

    @hookimpl
    def toolway_request_watchers(self, kernel: Kernel) -> Iterable[RequestWatcher]:
        """Itself."""
        return [self]

    def begin(self, request: Served) -> None:
        """See `RequestWatcher`."""
        request.trace_id, request.is_sampled = TRACE, True

    def done(self, requests: Iterator[Served]) -> None:
        """See `RequestWatcher`."""


@dataclass(frozen=True)
class Process:
    """A gateway process with its workers; `pages` is where the page is."""

    url: str
    pages: str
    token: str
    pid: int

    @property
    def workers(self) -> list[int]:
        """Their process ids."""
        return [int(each) for each in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def page(self) -> str:
        """The page, of any worker; empty while none answers."""
        try:
            request = Request(f"{self.pages}/metrics", headers={"authorization": f"Bearer {self.token}"})
            with urlopen(request, timeout=SECONDS) as answer:
                return str(answer.read().decode())
        except HTTPError:
            raise
        except OSError:
            return ""

    def ask(self) -> None:
        """A request on a connection of its own."""
        with urlopen(f"{self.url}/health", timeout=SECONDS):
            pass


@contextmanager
def process(directory: Path, *, workers: int, own: bool) -> Iterator[Process]:
    """With the page on the gateway's port, or on its `own`."""
    urls = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    file, log = directory / "toolway.toml", directory / "log"
    gateway = (
        f'[gateway]\nbind = "{urls[0]}"\ndata_dir = "{directory / "data"}"\nworkers = {workers}\ndrain_delay = 0\n'
    )
    bind = f'[plugins.prometheus]\nbind = "{urls[1]}"\n' if own else ""
    file.write_text(f'{gateway}[plugins]\nenable = ["prometheus"]\n{bind}')
    command = [sys.executable, "-c", "from toolway.cli import main; main()", "serve", "--demo", "--config", str(file)]
    with log.open("w") as output:
        running = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        eventually_now(lambda: running.poll() is not None or "Ctrl-C stops it." in log.read_text(), SECONDS)
        assert running.poll() is None, log.read_text()
        token = re.findall(r"twa_[\w-]+", log.read_text())[0]
        yield Process(f"http://{urls[0]}", f"http://{urls[own]}", token, running.pid)
    finally:
        running.terminate()
        running.wait(SECONDS)
