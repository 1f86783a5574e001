"""The processes of a chaos test: replicas that can be killed and come back, and the gateway in front of them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import programs
import running
from faults_page import IS_WHOLE

from toolway_testing.ports import free_port

QUICK = "open_time = 0.5\nmax_open_time = 2"
FIXTURES = programs.TESTS / "fixtures"


@dataclass
class Replica:
    """A server of a fixture script on a port of its own, which it keeps when it comes back."""

    script: str
    directory: Path
    port: int = field(default_factory=free_port)
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where MCP is."""
        return f"http://127.0.0.1:{self.port}/mcp"

    @property
    def log(self) -> Path:
        """What it has written since it was started."""
        return self.directory / f"replica-{self.port}.log"

    def start(self) -> None:
        """Run until it listens."""
        command = [sys.executable, str(FIXTURES / self.script), "--port", str(self.port)]
        ready = running.child(command, self.log, lambda: "listening on" in self.log.read_text(errors="replace"))
        self.process = self.stack.enter_context(ready)

    def send(self, which: signal.Signals) -> None:
        """A signal to the process."""
        if self.process is not None:
            self.process.send_signal(which)

    def kill(self) -> None:
        """`kill -9`, and wait for its end."""
        self.send(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(10)


@dataclass(frozen=True)
class Stage:
    """What runs."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]
    replicas: list[Replica]

    @property
    def endpoint(self) -> str:
        """Where the server with everything is."""
        return f"{self.url}/servers/conformance/mcp"

    def memory(self) -> float:
        """The most memory that the gateway ever had, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024


@contextlib.contextmanager
def replicas(directory: Path, count: int, script: str = "everything.py") -> Iterator[list[Replica]]:
    """So many of them, running."""
    made = [Replica(script, directory) for _ in range(count)]
    with contextlib.ExitStack() as stack:
        for each in made:
            stack.enter_context(each.stack)
            each.start()
        yield made


@contextlib.contextmanager
def stage(
    directory: Path, behind: list[Replica], *urls: str, settings: str = "", breaker: str = "", tool: str
) -> Iterator[Stage]:
    """A gateway with the circuit breaker, in front of the upstream `many`, with `tool`, and of `calm`, the demo.

    The endpoints of `many` are those of the replicas unless `urls` are given; `settings` are more lines of its table.
    """
    port, breaker = free_port(), breaker or ("" if IS_WHOLE else QUICK)
    url, file, log = f"http://127.0.0.1:{port}", directory / "toolway.toml", directory / "gateway.log"
    demo = f'command = ["{sys.executable}", "-m", "toolway.cli.demo"]'
    file.write_text(
        f'[gateway]\nbind = "127.0.0.1:{port}"\npublic_url = "{url}"\ndata_dir = "{directory / "data"}"\n'
        f'drain_delay = 0\n[plugins]\nenable = ["breaker"]\n[plugins.breaker]\n{breaker}\n'
        f'[[upstreams]]\nname = "calm"\nkind = "stdio"\n{demo}\n'
        + running.upstream_table("many", *(urls or [each.url for each in behind])).rstrip()
        + f"\n{settings}\n\n"
        + running.server_table("many/*", "calm/now")
    )
    command = [str(Path(sys.executable).with_name("toolway")), "serve", "--config", str(file)]
    with running.child(command, log, lambda: running.answers(f"{url}/ready")) as process:
        made = Stage(url, log, process, behind)
        for name in (tool, "now"):
            running.poll(lambda name=name: name in running.list_tools(made.endpoint), f"no tool {name}", log)  # type: ignore[misc]
        yield made
