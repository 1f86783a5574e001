"""Runs the gateway on a socket: hypercorn's HTTP protocol behind the door, from the first byte to a drained stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from toolway.edge.door import Door
from toolway.edge.edge import Edge
from toolway.errors import ConfigError

BACKLOG = 8192
_OPEN_FILES = 65_536

T = TypeVar("T")
Bound = tuple[str, int]


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on uvloop where it exists."""
    if sys.platform == "win32":
        return asyncio.run(main)
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def listen(bind: str, *, backlog: int = BACKLOG, reuse_port: bool = False) -> list[socket.socket]:
    """Open listening sockets for `host:port`, port 0 for any free one; `reuse_port` allows one socket per worker.

    Raises `ConfigError` if the address is malformed, unknown or taken.
    """
    host, separator, port = bind.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65_535:
        raise ConfigError(f"gateway.bind is {bind!r}; write host:port, such as 127.0.0.1:4440")
    try:
        name = host.strip("[]") or None
        found = socket.getaddrinfo(name, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
        if port == "0":
            del addresses[1:]
        return [_listener(family, address, backlog, reuse_port) for family, address in addresses]
    except OSError as error:
        raise ConfigError(f"cannot listen on {bind} ({error}); free the port or change gateway.bind") from error


def _listener(family: int, address: Any, backlog: int, reuse_port: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(backlog)
        return listener
    except OSError:
        listener.close()
        raise


async def serve(
    edge: Edge,
    sockets: Sequence[socket.socket],
    *,
    stop: asyncio.Event,
    ready: Callable[[list[Bound]], None] = lambda bound: None,
    on_drain: Callable[[], Awaitable[None]] | None = None,
    hurry: asyncio.Event | None = None,
    logger: logging.Logger | None = None,
) -> None:
    """Serve until `stop` is set, then drain; returns with every connection closed, `hard_stop` seconds later at most.

    `ready` gets the bound addresses once connections are accepted. `on_drain` runs after the listening sockets are
    closed: end long-lived streams there. `hurry` cuts the drain short. ASGI lifespan is not run: the caller starts and
    stops what it serves. Raises `ConfigError` if the TLS files cannot be used.
    """
    with contextlib.ExitStack() as failed:
        for listener in sockets:
            failed.callback(listener.close)
        door = Door(edge, logger or logging.getLogger("toolway.server"))
        failed.pop_all()
    door.open(sockets)
    try:
        ready([listener.getsockname()[:2] for listener in sockets])
        await stop.wait()
        await _drain(edge, door, on_drain, hurry or asyncio.Event())
    finally:
        await door.close(patience=min(edge.settings.limits.linger + 0.5, edge.settings.hard_stop))


async def _drain(edge: Edge, door: Door, on_drain: Callable[[], Awaitable[None]] | None, hurry: asyncio.Event) -> None:
    """Not ready any more; then no new connections; then no calls in flight; then nothing (reliability: SIGTERM)."""
    settings = edge.settings
    start = asyncio.get_running_loop().time()
    edge.drain()
    await _at_most(settings.drain_delay, asyncio.Event().wait(), hurry)
    door.stop_accepting()
    await door.close_idle()
    edge.end_streams()
    await _at_most(settings.drain_timeout, _quiet(edge, on_drain), hurry)
    edge.end_all()
    left = settings.hard_stop - (asyncio.get_running_loop().time() - start)
    if edge.tasks:
        await asyncio.wait(edge.tasks, timeout=min(max(left, 0.1), 5.0))


async def _quiet(edge: Edge, on_drain: Callable[[], Awaitable[None]] | None) -> None:
    if on_drain is not None:
        await on_drain()
    while edge.tasks:
        await asyncio.wait(edge.tasks)


async def _at_most(seconds: float, work: Coroutine[Any, Any, Any], hurry: asyncio.Event) -> None:
    """Wait for the work, the time or the hurry, whichever is first."""
    tasks = {asyncio.ensure_future(work), asyncio.ensure_future(hurry.wait())}
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def raise_file_limit() -> int:
    """Allow as many open files as the system lets us, at most 65,536; returns the limit, 0 where there is none."""
    if sys.platform == "win32":
        return 0
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def settle_memory() -> None:
    """After start: what lives now lives as long as the process, so the garbage collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
