"""Runs the gateway on a socket: the door in front of it, from the first byte to a drained stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import socket
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain

import anyio
import uvloop

from toolway.edge.door import Door
from toolway.edge.edge import Edge
from toolway.errors import ConfigError
from toolway.hookspecs.serving import ServerRunner

_BACKLOG = 8192
_OPEN_FILES = 65_536
_HANDSHAKE = 0.1  # for connections whose handshake is under way
_FIRST_WORDS = 0.1  # for requests that are on their way on connections that were just accepted
_LAST_WORDS = 5.0

run = uvloop.run
"""`asyncio.run` on uvloop."""


def listen(bind: str, *, shared: bool = False) -> list[socket.socket]:
    """Open sockets for `host:port`, port 0 for any free one; `shared` ones may be opened again by this user.

    Raises:
        ConfigError: the address is unknown or taken.
    """
    host, _, port = bind.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = sorted({(family, address) for family, _, _, _, address in found})
        chosen = addresses[:1] if port == "0" else addresses
        return [
            socket.create_server(address, family=family, backlog=_BACKLOG, reuse_port=shared)
            for family, address in chosen
        ]
    except OSError as error:
        raise ConfigError(f"cannot listen on {bind} ({error}); free the port or change gateway.bind") from error


def free_address(bind: str) -> str:
    """`host:port` with a port that nobody else uses; raises `ConfigError` if there is none."""
    sockets = listen(bind)
    host, port = bind.rpartition(":")[0], sockets[0].getsockname()[1]
    for each in sockets:
        each.close()
    return f"{host}:{port}"


async def serve(
    edge: Edge,
    runner: ServerRunner,
    sockets: Sequence[socket.socket],
    *,
    stop: asyncio.Event,
    ready: Callable[[list[tuple[str, int]]], None],
    on_drain: Callable[[], Awaitable[None]],
    hurry: asyncio.Event | None = None,
) -> None:
    """Serve until `stop` is set, then drain; returns with every connection closed, `hard_stop` seconds later at most.

    `ready` gets the bound addresses once connections are accepted. `on_drain` runs after the listening sockets are
    closed: end long-lived streams there. `hurry` cuts the drain short. ASGI lifespan is not run: the caller starts and
    stops what it serves. Raises `ConfigError` if the TLS files cannot be used.
    """
    door = Door(edge, runner, sockets)
    sweeper = asyncio.create_task(_sweep(edge, door))
    try:
        door.open()
        ready([listener.getsockname()[:2] for listener in sockets])
        await stop.wait()
        with anyio.move_on_after(edge.settings.hard_stop):
            await _drain(edge, door, on_drain, hurry or asyncio.Event())
    finally:
        sweeper.cancel()
        edge.end_all()
        door.abort()
        with anyio.move_on_after(_LAST_WORDS):
            await door.emptied()


async def _sweep(edge: Edge, door: Door) -> None:
    """Keep the deadlines, to a quarter of the shortest or to a second."""
    limits = edge.settings.limits
    shortest = min(limits.first_byte, limits.head, limits.body_gap, limits.body_total, limits.keep_alive)
    interval = min(1.0, shortest / 4)
    while True:
        for _ in chain(edge.sweep(), door.sweep()):
            await asyncio.sleep(0)
        await asyncio.sleep(interval)


async def _drain(edge: Edge, door: Door, on_drain: Callable[[], Awaitable[None]], hurry: asyncio.Event) -> None:
    gentle = asyncio.create_task(_let_finish(edge, door, on_drain))
    hurried = asyncio.create_task(hurry.wait())
    try:
        await asyncio.wait({gentle, hurried}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gentle.cancel()
        hurried.cancel()
    door.close()
    door.finish()
    edge.end_all()
    with anyio.move_on_after(_LAST_WORDS):
        await door.emptied()


async def _let_finish(edge: Edge, door: Door, on_drain: Callable[[], Awaitable[None]]) -> None:
    """Not ready any more; then no new connections; then no calls in flight (design: SIGTERM)."""
    edge.drain()
    await asyncio.sleep(edge.drain_delay)
    door.turn_newcomers_away()
    await asyncio.sleep(_HANDSHAKE)
    door.close()
    await asyncio.sleep(_FIRST_WORDS)
    door.finish()
    edge.end_streams()
    with anyio.move_on_after(edge.settings.drain_timeout):
        await on_drain()
        await door.emptied()


def raise_file_limit() -> None:
    """Allow as many open files as the system lets us, at most 65,536."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def settle_memory() -> None:
    """After start: what lives now lives as long as the process, so the garbage collector need not look at it again."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
