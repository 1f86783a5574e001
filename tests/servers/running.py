"""Starts programs as children of a test, waits until they answer, and ends them by their own process id."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import programs

from toolway_testing.ports import free_port

START_SECONDS = 45.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02
MODERN = "2026-07-28"
FIXTURES = programs.TESTS / "fixtures"


class Unready(RuntimeError):
    """What was waited for did not come in time."""


@dataclass(frozen=True)
class Gateway:
    """A gateway process: its base address, without a slash at the end, and what it wrote."""

    url: str
    log: Path

    @property
    def endpoint(self) -> str:
        """Where the server `conformance` is."""
        return f"{self.url}/servers/conformance/mcp"


@contextlib.contextmanager
def child(
    command: list[str],
    log: Path,
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` with its output in `log` until the block ends; the block starts when `ready` holds.

    When something was waited for in vain, in the block too, a program in Python tells where its threads are.

    Raises:
        RuntimeError: it ended, or was not ready in time; the message has the end of the log.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PYTHONFAULTHANDLER": "1", **os.environ, **(environment or {})},
            cwd=cwd,
        )
    try:
        poll(
            lambda: process.poll() is not None or ready(),
            f"{command[:3]} is not ready",
            log,
        )
        if process.poll() is not None:
            raise RuntimeError(f"{command[:3]} ended with {process.returncode}:\n{tail(log)}")
        yield process
    except Unready as error:
        process.send_signal(signal.SIGABRT)
        _end(process)
        raise Unready(f"{error}\n{command[:3]}:\n{tail(log)}") from error
    finally:
        _end(process)


@contextlib.contextmanager
def everything(directory: Path, *arguments: str) -> Iterator[str]:
    """The fixture server of the SDK (`fixtures/everything.py`); gives its URL."""
    with _listening("everything.py", directory, arguments) as url:
        yield url


@contextlib.contextmanager
def raw_upstream(directory: Path, *arguments: str) -> Iterator[str]:
    """The scripted upstream without an SDK (`fixtures/raw_upstream.py`); gives its URL."""
    with _listening("raw_upstream.py", directory, arguments) as url:
        yield url


@contextlib.contextmanager
def gateway(directory: Path, configuration: str, port: int | None = None) -> Iterator[Gateway]:
    """`toolway serve` with the tables of `configuration` (without `[gateway]`, which is made here)."""
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    settings = (
        f'[gateway]\nbind = "127.0.0.1:{port}"\npublic_url = "{url}"\n'
        f'data_dir = "{directory / "data"}"\ndrain_delay = 0\n\n'
    )
    file = directory / "toolway.toml"
    file.write_text(settings + configuration)
    log = directory / "gateway.log"
    toolway = Path(sys.executable).with_name("toolway")
    with child(
        [str(toolway), "serve", "--config", str(file)],
        log,
        lambda: answers(f"{url}/ready"),
    ):
        yield Gateway(url, log)


def upstream_table(name: str, *endpoints: str) -> str:
    """An `[[upstreams]]` table of kind http that may use loopback."""
    return (
        f'[[upstreams]]\nname = "{name}"\nkind = "http"\nendpoints = {json.dumps(endpoints)}\nallow_private = true\n\n'
    )


def stdio_table(name: str, program: programs.Program, *arguments: str) -> str:
    return f'[[upstreams]]\nname = "{name}"\nkind = "stdio"\ncommand = {json.dumps([*program.command, *arguments])}\n\n'


def server_table(*includes: str, naming: str = "plain") -> str:
    """The public server `conformance`."""
    table = f'[[servers]]\nname = "conformance"\naccess = "public"\nnaming = "{naming}"\n'
    return f"{table}include = {json.dumps(includes)}\n\n"


def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def list_tools(url: str) -> list[str]:
    """Names on the first page, asked on the modern wire; empty if there is no answer."""
    try:
        return listed_tools(url)
    except (OSError, KeyError, ValueError):
        return []


def listed_tools(url: str) -> list[str]:
    """The same; raises OSError, KeyError or ValueError if there is no answer, or no good one."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/list",
        "params": {"_meta": meta},
    }
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": "tools/list",
    }
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=5) as response:
        return [tool["name"] for tool in _message(response.read().decode())["result"]["tools"]]


def tools_of(url: str) -> set[str]:
    """Every tool at the URL, whichever era it speaks."""
    import asyncio

    from mcp import Client

    async def read() -> set[str]:
        async with Client(url) as client:
            return {tool.name for tool in (await client.list_tools()).tools}

    return asyncio.run(read())


def wait_for_tool(gate: Gateway, name: str) -> None:
    """Wait until discovery has brought the tool; raises `Unready`, with what was answered last."""
    said: object = None

    def is_there() -> bool:
        nonlocal said
        try:
            said = tools = listed_tools(gate.endpoint)
        except (OSError, KeyError, ValueError) as error:
            said = error
            return False
        return name in tools

    try:
        poll(is_there, f"no tool {name} at {gate.endpoint}", gate.log)
    except Unready as error:
        raise Unready(f"{error}\nlast answer: {said!r}") from error


def poll(holds: Callable[[], bool], complaint: str, log: Path) -> None:
    """Wait until `holds`.

    Raises:
        Unready: the complaint and the end of the log.
    """
    deadline = time.monotonic() + START_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise Unready(f"{complaint}:\n{tail(log)}")
        time.sleep(POLL_SECONDS)


def tail(log: Path, characters: int = 4000) -> str:
    return log.read_text(errors="replace")[-characters:]


@contextlib.contextmanager
def _listening(script: str, directory: Path, arguments: tuple[str, ...]) -> Iterator[str]:
    log = directory / f"{Path(script).stem}-{free_port()}.log"
    with child(
        [sys.executable, str(FIXTURES / script), *arguments],
        log,
        lambda: _url_in(log) is not None,
    ):
        yield _url_in(log) or ""


def _url_in(log: Path) -> str | None:
    lines = log.read_text(errors="replace").splitlines(keepends=True)
    found = [line.split()[-1] for line in lines if line.startswith("listening on ") and line.endswith("\n")]
    return found[0] if found else None


def _message(text: str) -> Any:
    """The last message of a JSON or SSE body."""
    data = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")]
    return json.loads(data[-1] if data else text)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_SECONDS)
