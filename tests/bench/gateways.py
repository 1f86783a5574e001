"""Toolway and the limit reference as targets: started on the gateway's core, ready, with what they serve known."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from machine import GATEWAY_CORE, pinned
from nginx import endpoint, listens
from running import answers, child, poll, upstream_table
from target import LEGACY, Target

from toolway_testing.ports import free_port

HERE = Path(__file__).parent
PLUGIN = HERE / "plugin"
sys.path.append(str(PLUGIN))

from toolway_bench import token  # noqa: E402 - its folder has metadata, so that gateways find it installed

REPLICAS = ("a", "b", "c")
FAST_RUNNER = "uvicorn"
LIMITS = {"connections": 30_000, "connections_per_source": 30_000}
CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class Setup:
    """What differs between the gateways of the benchmark."""

    name: str
    plugins: Sequence[str] = ()
    middlewares: int = 0
    tables: str = ""
    gateway: Mapping[str, object] = field(default_factory=dict)
    bench: Mapping[str, object] = field(default_factory=dict)
    limits: Mapping[str, object] = field(default_factory=lambda: LIMITS)


@cache
def has_fast_runner() -> bool:
    """Whether the plugin that serves with uvicorn is installed, and fits the kernel that is."""
    try:
        return bool([entry.load() for entry in entry_points(group="toolway.plugins", name=FAST_RUNNER)])
    except ImportError:
        return False


def authorized(name: str = "user-1") -> dict[str, str]:
    """The header that the gateways want; each name is a principal."""
    return {"Authorization": f"Bearer {token(name)}"}


@contextlib.contextmanager
def toolway(
    folder: Path, setup: Setup, core: int | str = GATEWAY_CORE, ready: Callable[[str], bool] = answers
) -> Iterator[Target]:
    """`toolway serve`, until `ready` says so of its /ready; its server `all` with prefixed names, behind a token."""
    home, port = folder / setup.name.replace(" ", "-").replace("+", "with"), free_port()
    home.mkdir(exist_ok=True)
    file = home / "toolway.toml"
    file.write_text(configuration(setup, home, port), encoding="utf-8")
    url = f"http://127.0.0.1:{port}"
    log = home / "gateway.log"
    with child(serve_command(file, core), log, lambda: ready(f"{url}/ready"), environment(folder)) as process:
        enabled = ", ".join([*setup.plugins, "bench"])
        note = f"plugins: {enabled}; middlewares: {setup.middlewares}"
        yield Target(setup.name, f"{url}/mcp", process.pid, "echo__echo", headers=authorized(), note=note)


def serve_command(file: Path, core: int | str = GATEWAY_CORE) -> list[str]:
    """The command line of a gateway with that configuration."""
    return pinned(core, Path(sys.executable).with_name("toolway"), "serve", "--config", file)


def environment(folder: Path) -> dict[str, str]:
    """The benchmark's plugin counts as installed, and bytecode is kept in the folder, as pip leaves it elsewhere."""
    path = os.pathsep.join([str(PLUGIN), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


def configuration(setup: Setup, home: Path, port: int) -> str:
    """The configuration file of a gateway."""
    gateway = {
        "bind": f"127.0.0.1:{port}",
        "data_dir": str(home / "data"),
        "drain_delay": 0,
        "drain_timeout": 2,
        **setup.gateway,
    }
    plugins = {"enable": [*setup.plugins, "bench"]}
    tables = {"gateway": gateway, "gateway.limits": setup.limits, "plugins": plugins}
    tables["plugins.bench"] = {"middlewares": setup.middlewares, **setup.bench}
    return "\n".join(_table(name, values) for name, values in tables.items()) + "\n" + setup.tables


def echo_table(direct: Target, name: str = "echo") -> str:
    """The upstream with three endpoints."""
    return upstream_table(name, *(endpoint(direct, replica) for replica in REPLICAS))


def wait_for_tools(target: Target, count: int = 1) -> None:
    """Wait until discovery has brought that many tools; raises RuntimeError."""
    poll(lambda: len(tools(target)) >= count, f"{target.name} lists no {count} tools", Path(os.devnull))


def tools(target: Target) -> list[str]:
    """The names on the first page, empty while there is no answer."""
    result = ask(target, "tools/list").get("result", {})
    return [tool["name"] for tool in result.get("tools", ())]


def ask(target: Target, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """The last message that answers one request; empty if there is none."""
    return json.loads(_exchange(target, target.request(method, params))[0] or b"{}")  # type: ignore[no-any-return]


def with_session(target: Target) -> Target:
    """The same gateway for a legacy client that has initialized."""
    legacy = target.on(era="legacy", session="")
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
    _, session = _exchange(legacy, legacy.request("initialize", params))
    ready = legacy.on(session=session)
    _exchange(ready, ready.request("notifications/initialized", request_id=None))
    return ready


def answer_to(target: Target, request: bytes) -> bytes:
    """The data of the last event, or the body; empty if there is no good answer."""
    return _exchange(target, request)[0]


def _exchange(target: Target, request: bytes) -> tuple[bytes, str]:
    head, _, body = request.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:])
    try:
        asked = urllib.request.Request(target.url, body, headers)
        with urllib.request.urlopen(asked, timeout=CONNECT_SECONDS) as answer:
            text, session = answer.read(), answer.headers.get("mcp-session-id", "")
    except OSError:
        return b"", ""
    data = [line.removeprefix(b"data:") for line in text.splitlines() if line.startswith(b"data:")]
    return (data[-1] if data else text), session


def _table(name: str, values: Mapping[str, object]) -> str:
    return "\n".join([f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""])


@contextlib.contextmanager
def reference(folder: Path, direct: Target, server: str, client: str = "raw") -> Iterator[Target]:
    """The limit reference on uvicorn or hypercorn, tuned alike."""
    port = free_port()
    command = [sys.executable, "-m", *_SERVERS[server]]
    bind = ["--port", str(port)] if server == "uvicorn" else ["--bind", f"127.0.0.1:{port}"]
    known = token("user-1")
    variables = {"UPSTREAM": direct.url, "TOKEN": known, "CLIENT": client, "PYTHONPATH": str(HERE / "reference")}
    log = folder / f"reference-{server}-{client}.log"
    with child(pinned(GATEWAY_CORE, *command, *bind, "gateway:app"), log, lambda: listens(port), variables) as process:
        name = f"reference {server}" + ("" if client == "raw" else f" {client}")
        yield Target(name, f"http://127.0.0.1:{port}/mcp", process.pid, "echo__echo", headers=authorized())


_SERVERS = {
    "uvicorn": [
        *("uvicorn", "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"),
        *("--timeout-keep-alive", "3600", "--backlog", "8192", "--lifespan", "off", "--host", "127.0.0.1"),
    ],
    "hypercorn": ["hypercorn", "-k", "uvloop", "-w", "0", "--keep-alive", "3600", "--backlog", "8192"],
}
