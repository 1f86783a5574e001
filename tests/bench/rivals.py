"""Other gateways as targets, each in an environment of its own below the cache of the tests."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import programs
from gateways import answer_to, with_session
from machine import GATEWAY_CORE, Unprepared, pinned
from nginx import listens
from running import child, tail
from target import Target

from toolway_testing.ports import free_port

SCRIPTS = Path(__file__).with_name("competitors")
INSTALL_SECONDS = 900
START_SECONDS, POLL_SECONDS = 180.0, 0.1
"""Some need a minute on a busy machine."""

Command = list[Path | str]
FASTMCP = "fastmcp==4.1.0"
MCP_PROXY = "mcp-proxy==0.13.0"
LITELLM = "litellm[proxy]"
CONTEXT_FORGE = "mcp-contextforge-gateway"
LITELLM_KEY, FORGE_KEY, FORGE_USER = "sk-benchmark", "benchmark-only-key-0123456789abcdef", "bench@example.com"


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
    python = environment("py-fastmcp", FASTMCP) / "python"
    command: Command = [python, SCRIPTS / "fastmcp_proxy.py", direct.url, str(port), kind]
    with _serving(command, folder / f"fastmcp-{kind}.log", port) as pid:
        yield Target(f"FastMCP {kind}", f"http://127.0.0.1:{port}/mcp", pid, patience=8 if kind == "default" else 1)


@contextlib.contextmanager
def mcp_proxy(folder: Path, server: list[str]) -> Iterator[Target]:
    """mcp-proxy in front of a stdio server, for a legacy client with a session."""
    port = free_port()
    command: Command = [environment("bench-mcp-proxy", MCP_PROXY) / "mcp-proxy", "--log-level", "ERROR"]
    with _serving([*command, "--port", str(port), "--", *server], folder / "mcp-proxy.log", port) as pid:
        yield with_session(Target("mcp-proxy", f"http://127.0.0.1:{port}/mcp", pid))


@contextlib.contextmanager
def litellm(folder: Path, direct: Target) -> Iterator[Target]:
    """LiteLLM's MCP gateway with a master key."""
    port, file = free_port(), folder / "litellm.yaml"
    servers = {"echo": {"url": direct.url, "transport": "http"}}
    settings = {"general_settings": {"master_key": LITELLM_KEY}, "mcp_servers": servers, "model_list": []}
    file.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    command: list[Path | str] = [
        environment("bench-litellm", LITELLM) / "litellm",
        "--config",
        file,
        "--host",
        "127.0.0.1",
    ]
    variables = {"LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with _serving(command, folder / "litellm.log", port, variables) as pid:
        headers = {"Authorization": f"Bearer {LITELLM_KEY}"}
        url = f"http://127.0.0.1:{port}/mcp/"
        yield _speaking(Target("LiteLLM", url, pid, "echo-echo", headers=headers, patience=3))


@contextlib.contextmanager
def context_forge(folder: Path, direct: Target) -> Iterator[Target]:
    """mcp-context-forge with SQLite and a token; the upstream is registered through its API."""
    port = free_port()
    bin_folder = environment("bench-context-forge", CONTEXT_FORGE)
    variables = {
        "DATABASE_URL": f"sqlite:///{folder / 'forge.db'}",
        "JWT_SECRET_KEY": FORGE_KEY,
        "AUTH_REQUIRED": "true",
        "MCPGATEWAY_UI_ENABLED": "false",
        "PLATFORM_ADMIN_EMAIL": FORGE_USER,
        "LOG_LEVEL": "ERROR",
        "SSRF_ALLOW_LOCALHOST": "true",
        "SSRF_ALLOW_PRIVATE_NETWORKS": "true",
    }
    maker = [bin_folder / "python", "-m", "mcpgateway.utils.create_jwt_token", "--username", FORGE_USER, "--exp", "600"]
    environ = {**os.environ, **variables, "PYTHONPATH": ""}
    command = [*map(str, maker), "--secret", FORGE_KEY]
    made = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, cwd=folder)
    headers = {"Authorization": f"Bearer {made.stdout.split()[-1]}"}
    server: list[Path | str] = [
        bin_folder / "mcpgateway",
        "mcpgateway.main:app",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with _serving(server, folder / "forge.log", port, variables) as pid:
        url = f"http://127.0.0.1:{port}"
        body = json.dumps({"name": "echo", "url": direct.url, "transport": "STREAMABLEHTTP"}).encode()
        asked = urllib.request.Request(f"{url}/gateways", body, {**headers, "Content-Type": "application/json"})
        urllib.request.urlopen(asked, timeout=30).close()
        yield _speaking(Target("ContextForge", f"{url}/mcp/", pid, "echo-echo", headers=headers, patience=3))


def _speaking(target: Target) -> Target:
    """The target as a modern client if it answers one, else as a legacy one with a session; raises RuntimeError."""
    for tried in (target, with_session(target), target.on(era="legacy")):
        if b'"content"' in answer_to(tried, tried.call()):
            return tried
    raise RuntimeError(f"{target.name} answers no calls")


ON_REQUEST: dict[str, Callable[[Path, Target], AbstractContextManager[Target]]] = {
    "context-forge": context_forge,
    "litellm": litellm,
}
"""Large installations, which are measured only when they are named."""


@contextlib.contextmanager
def _serving(
    command: list[Path | str], log: Path, port: int, variables: Mapping[str, str] | None = None
) -> Iterator[int]:
    """The process id of a program that listens on the port; of what is installed here it sees nothing."""
    clean = {"PYTHONPATH": "", "VIRTUAL_ENV": "", **(variables or {})}
    with child(pinned(GATEWAY_CORE, *command), log, lambda: True, clean) as process:
        until = time.monotonic() + START_SECONDS
        while not listens(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{Path(command[0]).name} does not listen: {tail(log)}")
            time.sleep(POLL_SECONDS)
        yield process.pid


def _run(*command: str) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    if ended.returncode:
        raise Unprepared(f"{' '.join(command[:4])} failed: {ended.stderr.strip()[-1000:]}")
