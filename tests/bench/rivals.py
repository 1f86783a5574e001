"""Other gateways as targets, each in an environment of its own below the cache of the tests."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import programs
from gateways import with_session
from machine import GATEWAY_CORE, Unprepared, pinned
from nginx import listens
from running import child, free_port, poll
from target import Target

SCRIPTS = Path(__file__).with_name("competitors")
INSTALL_SECONDS = 900
FASTMCP = "fastmcp==4.1.0"
MCP_PROXY = "mcp-proxy==0.13.0"


def environment(name: str, *requirements: str) -> Path:
    """The folder of commands of a virtual environment with these packages, made when it is not there.

    Raises:
        Unprepared: it could not be installed; the message has the end of what was said.
    """
    folder = programs.CACHE / name
    done = folder / f".installed-{hashlib.sha256(' '.join(requirements).encode()).hexdigest()[:16]}"
    programs.CACHE.mkdir(parents=True, exist_ok=True)
    with (programs.CACHE / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            print(f"installing {', '.join(requirements)} into {folder}", file=sys.stderr)
            _run(sys.executable, "-m", "venv", "--clear", str(folder))
            _run(str(folder / "bin/python"), "-m", "pip", "install", "--quiet", *requirements)
            done.touch()
    return folder / "bin"


@contextlib.contextmanager
def fastmcp(folder: Path, direct: Target, kind: str) -> Iterator[Target]:
    """FastMCP's proxy: `default` or with one `shared` client."""
    port = free_port()
    command = [environment("py-fastmcp", FASTMCP) / "python", SCRIPTS / "fastmcp_proxy.py", direct.url, str(port), kind]
    with _serving(command, folder / f"fastmcp-{kind}.log", port) as pid:
        yield Target(f"FastMCP {kind}", f"http://127.0.0.1:{port}/mcp", pid)


@contextlib.contextmanager
def mcp_proxy(folder: Path, server: list[str]) -> Iterator[Target]:
    """mcp-proxy in front of a stdio server, for a legacy client with a session."""
    port = free_port()
    command = [environment("bench-mcp-proxy", MCP_PROXY) / "mcp-proxy", "--log-level", "ERROR"]
    with _serving([*command, "--port", str(port), "--", *server], folder / "mcp-proxy.log", port) as pid:
        yield with_session(Target("mcp-proxy", f"http://127.0.0.1:{port}/mcp", pid))


@contextlib.contextmanager
def _serving(command: list[Path | str], log: Path, port: int, variables: Mapping[str, str] | None = None) -> Iterator[int]:
    """The process id of a program that listens on the port; of what is installed here it sees nothing."""
    clean = {"PYTHONPATH": "", "VIRTUAL_ENV": "", **(variables or {})}
    with child(pinned(GATEWAY_CORE, *command), log, lambda: listens(port), clean) as process:
        poll(lambda: listens(port), "it does not listen any more", log)
        yield process.pid


def _run(*command: str) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    if ended.returncode:
        raise Unprepared(f"{' '.join(command[:4])} failed: {ended.stderr.strip()[-1000:]}")
