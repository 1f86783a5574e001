"""`toolway serve`, the life of the process: start, tell people where things are, serve, drain on a signal, stop."""

from __future__ import annotations

import asyncio
import faulthandler
import fcntl
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from toolway.app import Gateway, is_guarded, load_plugins
from toolway.bundled.defaults.admin_token import ensure_first_token
from toolway.cli.show import note, sentence
from toolway.config import Config, config_files, load_config
from toolway.edge import serve
from toolway.edge.edge import Edge
from toolway.edge.metrics import Instruments, Memory
from toolway.edge.names import is_loopback
from toolway.edge.workers import Post, Supervisor
from toolway.errors import ConfigError
from toolway.hookspecs.auth import toolway_authenticators
from toolway.keyring import prepare_directory
from toolway.lifecycle import InForce, Life
from toolway.redaction import RedactingFormatter

log = logging.getLogger("toolway")

FAILED = 1


def run(config_file: Path | None, *, demo: bool = False) -> int:
    """`toolway serve`: until Ctrl-C or SIGTERM; the exit code. Raises ToolwayError when it cannot begin."""
    config = load_config(config_file)
    gateway = config.gateway
    refuse_open_doors(config, lambda: _may_be_guarded(config))
    serve.raise_file_limit()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump has every key in it
    if sys.stderr is not None:
        faulthandler.enable()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    work = partial(_work, config, config_file, demo, [Memory() for _ in range(gateway.workers)], InForce())
    if gateway.workers > 1:
        return Supervisor(work, gateway.workers, gateway.bind, gateway.hard_stop, gateway.hang_timeout).run()
    claim_data_directory(config)
    return work(Post(serve.listen(gateway.bind)))


def _work(
    config: Config, config_file: Path | None, demo: bool, metrics: Sequence[Memory], in_force: InForce, post: Post
) -> int:
    """The life of one worker process; its exit code."""
    load, files = partial(load_config, config_file), partial(config_files, config_file)
    try:
        serve.run(
            _serve(config, Life(load, Instruments(metrics, post.number), _admit, files, in_force, demo=demo), post)
        )
    except Exception as error:  # noqa: BLE001 - told; of what is unexpected without its text
        tell = log.critical if logging.getLogger().handlers else note  # a log is redacted
        tell(f"toolway: {sentence(error)}")
        return FAILED
    return 0


def _admit(gateway: Gateway) -> None:
    refuse_open_doors(gateway.config, lambda: is_guarded(gateway.plugins, gateway.kernel))


async def _serve(config: Config, life: Life, post: Post) -> None:
    gateway = await life.build(config)
    logs = Logs()
    logs.write(gateway)
    token = await ensure_first_token(gateway.kernel.database, gateway.kernel.clock)
    edge = Edge(gateway.app, config.gateway, bind=config.gateway.bind, public_url=config.gateway.public_url)
    stop, hurry = asyncio.Event(), asyncio.Event()
    _on_signals(stop, hurry, life)
    if post.orphaned is not None:
        _on_end_of(post.orphaned, stop)

    def ready(bound: list[tuple[str, int]]) -> None:
        if post.first:
            print(welcome(gateway, bound[0][1], token), flush=True)
        go_on()

    def go_on() -> None:
        post.ready()
        asyncio.get_running_loop().call_later(post.pulse, go_on)

    def swapped(gateway: Gateway) -> None:
        edge.app = gateway.app
        logs.write(gateway)

    async def drain() -> None:
        await life.gateway.drain()

    life.swapped = swapped
    async with life.running():
        serve.settle_memory()
        await serve.serve(edge, gateway.runner, post.sockets, stop=stop, hurry=hurry, ready=ready, on_drain=drain)


def claim_data_directory(config: Config) -> int | None:
    """Hold a lock on the data directory while state is kept in this process only; ends with the process.

    Raises:
        ConfigError: another gateway holds it.
    """
    gateway = config.gateway
    if gateway.database is not None or (gateway.keyvalue, gateway.pubsub) == ("database", "database"):
        return None
    prepare_directory(gateway.data_dir)
    descriptor = os.open(gateway.data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(
            f"another gateway uses {gateway.data_dir}; stop it, choose another gateway.data_dir, or let both share it "
            'with gateway.keyvalue = "database" and gateway.pubsub = "database"'
        ) from None
    return descriptor


def _may_be_guarded(config: Config) -> bool:
    """What can be told before anything is built: whether a plugin says that it authenticates."""
    plugins = load_plugins(config)
    plugins.refuse_broken()
    return plugins.implement(toolway_authenticators)


def refuse_open_doors(config: Config, guarded: Callable[[], bool]) -> None:
    """Unless a plugin authenticates, the gateway serves this machine only. Raises ConfigError."""
    if is_loopback(config.gateway.address[0]) or guarded():
        return
    raise ConfigError(
        f"gateway.bind is {config.gateway.bind}, but no enabled plugin authenticates clients, so anybody who "
        "reaches this address could use every upstream; bind to 127.0.0.1 or enable a plugin that authenticates"
    )


def welcome(gateway: Gateway, port: int, token: str | None) -> str:
    """What is served, where, and how to connect; with the first admin token when it was just made."""
    url = _reachable(gateway.config, port)
    snapshot = gateway.plane.catalog.snapshot
    client = {"mcpServers": {"toolway": {"type": "http", "url": f"{url}/mcp"}}}
    lines = [
        f"Toolway serves {_counted(len(snapshot.upstreams), 'upstream')} on {url}",
        f"  MCP endpoint  {url}/mcp   (all items; other servers at {url}/servers/<name>/mcp)",
        f"  admin API     {url}/api/v1",
        "  client configuration:",
        *(f"    {line}" for line in json.dumps(client, indent=2).splitlines()),
    ]
    if token is not None:
        lines += [
            f"  first admin token (shown once): {token}",
            f"    log in with: toolway login --url {url} --token {token}",
        ]
    return "\n".join([*lines, "Ctrl-C stops it."])


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _reachable(config: Config, port: int) -> str:
    url = config.gateway.public_url
    return url[: -len(":0")] + f":{port}" if url.endswith(":0") else url


class Logs:
    """The handlers of the root logger, unless somebody else put some there."""

    def __init__(self) -> None:
        self._root = logging.getLogger()
        self._are_ours = not self._root.handlers
        if self._are_ours:
            self._root.setLevel(logging.INFO)

    def write(self, gateway: Gateway) -> None:
        """Those of this gateway from now on."""
        if not self._are_ours:
            return
        plain = logging.StreamHandler()
        plain.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        for handler in (handlers := gateway.log_handlers or (plain,)):
            inner = handler.formatter or logging.Formatter()
            handler.setFormatter(RedactingFormatter(inner, gateway.kernel.redact))
        self._root.handlers[:] = handlers


def _on_signals(stop: asyncio.Event, hurry: asyncio.Event, life: Life) -> None:
    """The first signal drains, the second one ends it at once; SIGHUP is for whoever reloads."""

    def signalled() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signalled)
    loop.add_signal_handler(signal.SIGHUP, life.hung_up)


def _on_end_of(supervisor: int, stop: asyncio.Event) -> None:
    """A worker whose supervisor is gone stops as if it had got a signal."""
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(supervisor)
        stop.set()

    loop.add_reader(supervisor, ended)
