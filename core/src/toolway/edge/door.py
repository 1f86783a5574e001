"""Accepts connections: how many there may be, from where, and how it stops without losing one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio

from toolway.edge.connection import Address, Connection, Reader
from toolway.edge.edge import Edge
from toolway.edge.problem import Refusal
from toolway.edge.proxies import parse_address
from toolway.edge.settings import EdgeSettings
from toolway.errors import ConfigError

log = logging.getLogger("toolway.edge")

_ACCEPTS_PER_TURN = 100
_PAUSE = 0.5


class Door:
    """All connections of one node."""

    def __init__(self, edge: Edge, sockets: Sequence[socket.socket]) -> None:
        self._edge = edge
        self._limits = edge.settings.limits
        self._loop = asyncio.get_running_loop()
        self._listening = list(sockets)
        self._tls: dict[str, Any] = {}
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sources: Counter[str] = Counter()

    def open(self) -> None:
        """Accept on the bound sockets from now on. Raises `ConfigError` if the TLS files cannot be used."""
        self._tls = _tls_options(self._edge.settings)
        for listener in self._listening:
            listener.setblocking(False)
            self._watch(listener)

    def _watch(self, listener: socket.socket) -> None:
        if listener in self._listening:
            self._loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> bool:
        """Take what has arrived; whether there may be more."""
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                client, address = listener.accept()
            except BlockingIOError:
                return False
            except ConnectionError:
                continue
            except OSError as error:  # out of file descriptors or memory: the rest waits in the backlog
                log.error("cannot accept: %s; allow more open files or lower gateway.limits.connections", error)
                self._loop.remove_reader(listener)
                self._loop.call_later(_PAUSE, self._watch, listener)
                return False
            self._admit(client, address[:2])
        return True

    def _admit(self, client: socket.socket, address: Address) -> None:
        client.setblocking(False)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: ends a connection whose other side reads nothing
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._limits.stalled_write * 1000))
        source = _source(address[0])
        is_full = len(self._tasks) >= self._limits.connections
        is_greedy = self._sources[source] >= self._limits.connections_per_source
        if is_full or (is_greedy and not self._edge.proxies.trusts(address[0])):
            return self._turn_away(client)
        self._sources[source] += 1
        task = self._loop.create_task(self._serve(client, address))
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._forget(task, source))

    def _turn_away(self, client: socket.socket) -> None:
        refusal = Refusal(503, "too_many_connections", "Too many connections are open.", retry_after=1)
        with client, contextlib.suppress(OSError):
            client.send(b"" if self._tls else refusal.message())

    def _forget(self, task: asyncio.Task[None], source: str) -> None:
        self._tasks.discard(task)
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]

    async def _serve(self, client: socket.socket, address: Address) -> None:
        reader = Reader()
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await self._loop.connect_accepted_socket(lambda: protocol, client, **self._tls)
        except OSError as error:  # TLS errors and time-outs are among them
            log.debug("a connection did not come about: %s", error)
            return client.close()
        writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
        connection = Connection(self._edge, address, reader, writer)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)

    def stop_accepting(self) -> None:
        """End the connections that do nothing and the others after their answer; take what the backlog still holds."""
        for connection in self._connections:
            connection.end()
        for listener in self._listening:
            is_open = self._loop.remove_reader(listener)
            while is_open and self._accept(listener):
                pass
            listener.close()
        self._listening.clear()

    async def closed(self) -> None:
        """Wait until every connection has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def cut(self) -> None:
        """Drop every connection and what works for it."""
        self.stop_accepting()
        for connection in self._connections:
            connection.abort()
        for task in self._tasks:
            task.cancel()
        with anyio.move_on_after(1.0):
            await self.closed()


def _source(host: str) -> str:
    """An IPv4 address, or the /64 network that one IPv6 customer has at least (RFC 6177)."""
    address = parse_address(host)
    return host if address is None or address.version == 4 else address.exploded[:19]


def _tls_options(settings: EdgeSettings) -> dict[str, Any]:
    """TLS 1.2 or later and HTTP/1.1 only, or nothing for plain HTTP."""
    tls = settings.tls
    if tls is None:
        return {}
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.client_ca)
        context.load_cert_chain(tls.cert, tls.key)
    except OSError as error:
        raise ConfigError(
            f"gateway.tls cannot be used ({error}); cert, key and client_ca must be readable PEM files that match"
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    context.verify_mode = ssl.CERT_REQUIRED if tls.client_ca else ssl.CERT_NONE
    timeouts = {"ssl_handshake_timeout": tls.handshake_timeout, "ssl_shutdown_timeout": settings.limits.linger}
    return {"ssl": context, **timeouts}
