"""Accepts connections: how many there may be, from where, and how it stops without losing one."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config

from toolway.edge.connection import Connection, Line, WatchedReader
from toolway.edge.edge import Edge
from toolway.edge.problem import raw_response
from toolway.edge.proxies import parse_address
from toolway.edge.tls import tls_context

log = logging.getLogger("toolway.edge")

_ACCEPTS_PER_TURN = 100
_OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE = 0.5
_FULL = raw_response(503, "too_many_connections", "The gateway is full.", headers=[(b"retry-after", b"1")])
_GREEDY = raw_response(429, "too_many_connections", "Too many connections from here.", headers=[(b"retry-after", b"1")])


class Door:
    """All connections of one node. Raises `ConfigError` if the TLS files cannot be used."""

    def __init__(self, edge: Edge, logger: logging.Logger) -> None:
        self._edge = edge
        self._limits = edge.settings.limits
        self._context = WorkerContext(None)
        self._line = Line(edge, self._limits, _hypercorn_config(logger), self._context)
        self._tls: ssl.SSLContext | None = tls_context(edge.settings.tls) if edge.settings.tls else None
        self._loop = asyncio.get_running_loop()
        self._listening: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[Connection] = set()
        self._per_source: Counter[str] = Counter()

    def open(self, sockets: Sequence[socket.socket]) -> None:
        """Accept on these bound sockets; the door closes them."""
        for listener in sockets:
            listener.setblocking(False)
            self._listening.append(listener)
            self._loop.add_reader(listener, self._accept, listener)

    def stop_accepting(self) -> None:
        """Take what the backlog holds, then close the listening sockets and the connections that do nothing."""
        for listener in self._listening:
            self._loop.remove_reader(listener)
            while self._accept(listener) == _ACCEPTS_PER_TURN:
                pass
            listener.close()
        self._listening.clear()

    def _accept(self, listener: socket.socket) -> int:
        for count in range(_ACCEPTS_PER_TURN):
            try:
                client, address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return count
            except ConnectionError:
                continue
            except OSError as error:
                self._pause(listener, error)
                return count
            self._admit(client, address[0])
        return _ACCEPTS_PER_TURN

    def _pause(self, listener: socket.socket, error: OSError) -> None:
        """Out of file descriptors or memory: leave the rest in the backlog for a moment."""
        if error.errno not in _OUT_OF_FILES:
            raise error
        log.error("cannot accept connections: %s; allow more open files or lower gateway.limits.connections", error)
        self._loop.remove_reader(listener)
        self._loop.call_later(_PAUSE, self._resume, listener)

    def _resume(self, listener: socket.socket) -> None:
        if listener in self._listening:
            self._loop.add_reader(listener, self._accept, listener)

    def _admit(self, client: socket.socket, host: str) -> None:
        source = _source(host)
        if len(self._tasks) >= self._limits.connections:
            return self._turn_away(client, _FULL)
        if self._per_source[source] >= self._limits.connections_per_source and not self._edge.proxies.trusts(host):
            return self._turn_away(client, _GREEDY)
        self._per_source[source] += 1
        task = self._loop.create_task(self._serve(client))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._forget(done, source))

    def _turn_away(self, client: socket.socket, answer: bytes) -> None:
        log.debug("turned a connection away, %d are open", len(self._tasks))
        with contextlib.suppress(OSError):
            client.setblocking(False)
            if self._tls is None:
                client.send(answer)
        client.close()

    def _forget(self, task: asyncio.Task[None], source: str) -> None:
        self._tasks.discard(task)
        self._per_source[source] -= 1
        if not self._per_source[source]:
            del self._per_source[source]
        if not task.cancelled() and (error := task.exception()):
            log.error("a connection failed unexpectedly", exc_info=error)

    async def _serve(self, client: socket.socket) -> None:
        client.setblocking(False)
        with contextlib.suppress(OSError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = WatchedReader(loop=self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        try:
            transport, _ = await self._loop.connect_accepted_socket(lambda: protocol, client, **self._handshake())
        except OSError as error:  # TLS errors and time-outs are among them
            log.debug("a connection did not come about: %s", error)
            client.close()
            return
        connection = Connection(self._line, reader, asyncio.StreamWriter(transport, protocol, reader, self._loop))
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)

    def _handshake(self) -> dict[str, Any]:
        settings = self._edge.settings.tls
        if settings is None:
            return {}
        return {
            "ssl": self._tls,
            "ssl_handshake_timeout": settings.handshake_timeout,
            "ssl_shutdown_timeout": self._limits.linger,
        }

    async def close_idle(self) -> None:
        """End the connections that wait for a request; those with one end after their answer."""
        await self._context.terminated.set()
        for connection in [*self._connections]:
            if connection.is_idle:
                connection.hang_up()

    async def close(self, patience: float) -> None:
        """Let answers that are written get out for `patience` seconds at most, then drop every connection."""
        self.stop_accepting()
        await self.close_idle()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)
        for connection in self._connections:
            connection.abort()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)


def _source(host: str) -> str:
    """An IPv4 address, or the /64 network that one IPv6 customer has at least (RFC 6177)."""
    address = parse_address(host.partition("%")[0])
    if address is None or address.version == 4:
        return str(address or host)
    return address.exploded[:19]


def _hypercorn_config(logger: logging.Logger) -> Config:
    config = Config()
    config.errorlog = logger
    config.accesslog = None
    config.include_server_header = False
    config.keep_alive_max_requests = 1_000_000
    return config
