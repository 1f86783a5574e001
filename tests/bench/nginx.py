"""The upstream (nginx with Lua, on the load's core) and the reference proxy (`proxy_pass`, on the gateway's core)."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from machine import GATEWAY_CORE, LOAD_CORE, LUA_MODULES, pinned, program
from running import child
from target import Target

from toolway_testing.ports import free_port

TEMPLATES = Path(__file__).with_name("upstream")


@contextlib.contextmanager
def upstream(folder: Path, port: int | None = None) -> Iterator[Target]:
    """The MCP server that everything stands in front of; also the target `direct`."""
    with _nginx(folder / "upstream", LOAD_CORE, "server.conf", port or free_port()) as (pid, port):
        yield Target("direct", f"http://127.0.0.1:{port}/mcp", pid)


@contextlib.contextmanager
def proxy(folder: Path, direct: Target) -> Iterator[Target]:
    """`proxy_pass` to the upstream."""
    behind = direct.address[1]
    with _nginx(folder / "proxy", GATEWAY_CORE, "proxy.conf", free_port(), UPSTREAM=behind) as (pid, port):
        yield Target("nginx", f"http://127.0.0.1:{port}/mcp", pid)


def endpoint(direct: Target, variant: str) -> str:
    """Another path of the upstream, which is another replica or one of the variants that `mcp.lua` names."""
    return direct.url.replace("/mcp", f"/{variant}/mcp")


@contextlib.contextmanager
def _nginx(folder: Path, core: int, template: str, port: int, **values: object) -> Iterator[tuple[int, int]]:
    folder.mkdir(exist_ok=True)
    values |= {"PORT": port, "FOLDER": folder, "LUA": TEMPLATES, "MODULES": LUA_MODULES}
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    configuration = folder / template
    configuration.write_text(text, encoding="utf-8")
    command = pinned(core, program("nginx"), "-p", folder, "-e", folder / "error.log", "-c", configuration)
    with child(command, folder / "output.log", lambda: listens(port)) as process:
        yield process.pid, port


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False
