"""Accepts connections: how many there may be, from where, how long they may be silent, and how to stop losing none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from toolway.edge.edge import STEP, Edge
from toolway.edge.newcomers import turn_away
from toolway.edge.proxies import parse_address
from toolway.edge.settings import EdgeSettings
from toolway.errors import ConfigError
from toolway.hookspecs.serving import ClientConnection, Refusal, ServerRunner, Silence

log = logging.getLogger("toolway.edge")

Address = tuple[str, int]

_ACCEPTS_PER_TURN = 100
_PAUSE = 0.5
_POLL = 0.02


@dataclass(slots=True)
class _Visit:
    """What the door knows of a connection: where it comes from, and since when it waits for what."""

    source: str
    is_open: bool = False
    waits_for: tuple[Silence, int] | None = None
    since: float = 0.0


class Door:
    """All connections of one node."""

    def __init__(self, edge: Edge, runner: ServerRunner, sockets: Sequence[socket.socket]) -> None:
        self._edge = edge
        self._limits = edge.settings.limits
        self._runner = runner
        self._loop = asyncio.get_running_loop()
        self._listening = list(sockets)
        self._tls: dict[str, Any] = {}
        self._visits: dict[ClientConnection, _Visit] = {}
        self._handshakes: set[asyncio.Task[None]] = set()
        self._sources: Counter[str] = Counter()

    def open(self) -> None:
        """Accept on the bound sockets from now on. Raises `ConfigError` if the TLS files cannot be used."""
        self._tls = tls_options(self._edge.settings, self._runner.alpn)
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
        is_full = len(self._visits) >= self._limits.connections
        is_greedy = self._sources[source] >= self._limits.connections_per_source
        if is_full or (is_greedy and not self._edge.proxies.trusts(address[0])):
            return self._turn_away(client)
        connection = self._runner.connection(self._edge, self._limits, self._left)
        self._sources[source] += 1
        self._visits[connection] = visit = _Visit(source)
        task = self._loop.create_task(self._shake_hands(client, connection, visit))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    def _turn_away(self, client: socket.socket) -> None:
        refusal = Refusal(503, "too_many_connections", "Too many connections are open.", retry_after=1)
        with client, contextlib.suppress(OSError):
            client.send(b"" if self._tls else refusal.message())

    async def _shake_hands(self, client: socket.socket, connection: ClientConnection, visit: _Visit) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, client, **self._tls)
            visit.is_open = True
        except OSError as error:  # TLS errors and time-outs are among them
            log.debug("a connection did not come about: %s", error)
        finally:
            if not visit.is_open:
                client.close()
                self._left(connection)

    def _left(self, connection: ClientConnection) -> None:
        visit = self._visits.pop(connection, None)
        if visit is not None:
            self._sources[visit.source] -= 1
            if not self._sources[visit.source]:
                del self._sources[visit.source]

    def sweep(self) -> Iterator[None]:
        """End the connections that have waited too long, in steps; do it often enough for the shortest limit."""
        now = monotonic()
        for number, (connection, visit) in enumerate(list(self._visits.items()), start=1):
            if number % STEP == 0:
                yield
            waits_for = connection.waits_for() if visit.is_open else None
            if waits_for != visit.waits_for:
                visit.waits_for, visit.since = waits_for, now
            elif waits_for is not None and now - visit.since >= getattr(self._limits, waits_for[0]):
                _cut(connection, waits_for[0])

    def turn_newcomers_away(self) -> None:
        """Let in only who is in the backlog or shakes hands now, so that `close` resets nobody."""
        for listener in self._listening:
            turn_away(listener)

    def close(self) -> None:
        """Take what the backlog still holds, then accept no more."""
        for listener in self._listening:
            is_open = self._loop.remove_reader(listener)
            while is_open and self._accept(listener):
                pass
            listener.close()
        self._listening.clear()

    def finish(self) -> None:
        """End the connections that do nothing now, the others after their answer."""
        for connection, visit in list(self._visits.items()):
            if visit.is_open:
                connection.finish()

    async def emptied(self) -> None:
        """Wait until every connection has ended and nothing works for one any more."""
        while self._visits or self._edge.in_flight:
            await asyncio.sleep(_POLL)

    def abort(self) -> None:
        """Drop every connection."""
        self.close()
        for task in self._handshakes:
            task.cancel()
        for connection, visit in list(self._visits.items()):
            if visit.is_open:
                connection.abort()


def _cut(connection: ClientConnection, silence: Silence) -> None:
    if silence == "head":
        connection.refuse(Refusal(408, "head_too_slow", "The request head did not arrive in time."))
    elif silence == "linger":
        connection.abort()
    else:
        connection.finish()


def _source(host: str) -> str:
    """An IPv4 address, or the /64 network that one IPv6 customer has at least (RFC 6177)."""
    address = parse_address(host)
    return host if address is None or address.version == 4 else address.exploded[:19]


def tls_options(settings: EdgeSettings, protocols: Sequence[str]) -> dict[str, Any]:
    """TLS 1.2 or later, or nothing for plain HTTP. Raises `ConfigError` if the files cannot be used."""
    tls = settings.tls
    if tls is None:
        return {}
    try:
        for path in filter(None, (tls.cert, tls.key, tls.client_ca)):
            path.read_bytes()  # whose errors name the file, unlike those of ssl
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.client_ca)
        context.load_cert_chain(tls.cert, tls.key)
    except OSError as error:
        raise ConfigError(
            f"gateway.tls cannot be used ({error}); cert, key and client_ca must be readable PEM files that match"
        ) from error
    context.set_alpn_protocols(list(protocols))
    context.verify_mode = ssl.CERT_REQUIRED if tls.client_ca else ssl.CERT_NONE
    timeouts = {"ssl_handshake_timeout": tls.handshake_timeout, "ssl_shutdown_timeout": settings.limits.linger}
    return {"ssl": context, **timeouts}
