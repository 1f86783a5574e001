"""Connections to one origin: dialled at checked addresses, reused, bounded, closed when idle or overdue."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from functools import lru_cache
from itertools import starmap
from math import inf

from aiohappyeyeballs import AddrInfoType, start_connection
from yarl import URL

from toolway.bundled.upstreams.http1 import Answer, Http1Connection, Known
from toolway.bundled.upstreams.wire import COMMON
from toolway.plugin import Heads, UpstreamError, UpstreamUnreachable
from toolway.plugin.http import CONNECT_SECONDS, ClientTls, EgressGuard, RefusedAddress, tls_context

CONNECTIONS = 256
WAITING = 128
"""How many requests may wait for a connection when all are in use."""

IDLE_SECONDS = 60.0
DNS_SECONDS = 60.0

FRAMING = frozenset({"connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade"})
"""Headers that only the connection itself may send."""

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A header's name (RFC 9110 section 5.1)."""

LONG = 36
"""Characters of a value that is hardly the same again: an id of a request or a trace."""

_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


class Pool:
    """Sends requests to one endpoint; never follows, repeats or decompresses anything."""

    def __init__(self, who: str, url: URL, guard: EgressGuard, tls: ClientTls) -> None:
        """`who` is what errors call the upstream; `url` comes from `check_url`."""
        self.heads: Heads[Known] = Heads()
        self._who = who
        self._url = url
        self._guard = guard
        self._tls = tls
        self._heads = {method: self._head(method, url.raw_path_qs) for method in COMMON}
        self._connections: set[Http1Connection] = set()
        self._idle: list[Http1Connection] = []
        self._opening = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._look_at = inf
        self._timer: asyncio.TimerHandle | None = None
        self._addresses: list[AddrInfoType] = []
        self._addresses_until = 0.0
        self._resolving = asyncio.Lock()
        self._is_closed = False
        self._loop = asyncio.get_running_loop()

    async def request(
        self, method: str, headers: Mapping[str, str], body: bytes | None, seconds: float, target: str = ""
    ) -> Answer:
        """The answer to one request, as soon as its head has come, within `seconds`. Whoever takes it closes it.

        `target` is another path and query than the endpoint's, percent-encoded.

        Raises:
            UpstreamError: no connection or no answer; `sent` tells whether the upstream may have got the request.
        """
        head = self._written(method, headers, body, target)
        due = self._loop.time() + seconds
        connection = self._spare() or await self._connection(due)
        answer = connection.send(head, body or b"", due)
        if due < self._look_at:
            self._watch(due)
        try:
            await answer.head
        except BaseException:
            answer.close()
            raise
        return answer

    def begin(self, headers: Mapping[str, str], body: bytes, seconds: float) -> Answer | None:
        """See `wire.Transport`."""
        if (connection := self._spare()) is None:
            return None
        head, due = self._written("POST", headers, body), self._loop.time() + seconds
        if due < self._look_at:
            self._watch(due)
        return connection.send(head, body, due)

    async def close(self) -> None:
        """Close every connection; requests in flight fail."""
        self._is_closed = True
        for connection in tuple(self._connections):
            connection.abandon(UpstreamError(f"the connections to {self._who} are closed; the outcome is unknown"))
        if self._timer is not None:
            self._timer.cancel()

    def ended(self, connection: Http1Connection) -> None:
        """See `Owner`."""
        if connection in self._connections:
            self._idle.append(connection)
            connection.due = self._loop.time() + IDLE_SECONDS
            if connection.due < self._look_at:
                self._watch(connection.due)
            if self._waiting:
                self._let_next()

    def lost(self, connection: Http1Connection) -> None:
        """See `Owner`."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._let_next()

    def _spare(self) -> Http1Connection | None:
        """The idle connection that was used last."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.transport.is_closing():
                return connection
        return None

    async def _connection(self, due: float) -> Http1Connection:
        """A new one, or that of a request that ends first."""
        until = min(due, self._loop.time() + CONNECT_SECONDS)
        while len(self._connections) + self._opening >= CONNECTIONS:
            await self._wait(until)
            if (connection := self._spare()) is not None:
                return connection
        self._opening += 1
        try:
            return await self._dial(until)
        except BaseException:
            self._let_next()
            raise
        finally:
            self._opening -= 1

    async def _wait(self, until: float) -> None:
        """Until a connection or the place of one may be free."""
        if len(self._waiting) >= WAITING:
            raise UpstreamUnreachable(f"all connections to {self._who} are in use, and too many requests wait for one")
        turn = self._loop.create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(until):
                await turn
        except BaseException as error:
            if turn in self._waiting:
                self._waiting.remove(turn)
            else:
                self._let_next()
            if isinstance(error, TimeoutError):
                raise UpstreamUnreachable(f"all {CONNECTIONS} connections to {self._who} are in use") from None
            raise

    def _let_next(self) -> None:
        if self._waiting and not (turn := self._waiting.popleft()).done():
            turn.set_result(None)

    async def _dial(self, until: float) -> Http1Connection:
        try:
            async with asyncio.timeout_at(until):
                connection = await self._open()
        except RefusedAddress as refused:
            raise refused.refused from None
        except ssl.SSLError:
            what = "check its certificate and the authority to trust"
            raise UpstreamUnreachable(f"no TLS connection to {self._who}; {what}") from None
        except (OSError, RuntimeError):  # uvloop has RuntimeErrors for some addresses
            self._addresses_until = 0.0
            what = "check that it is up and its address"
            raise UpstreamUnreachable(f"no connection to {self._who}; {what}") from None
        if self._is_closed or connection.transport.is_closing():
            connection.expire()
            raise UpstreamUnreachable(f"the connection to {self._who} was closed at once")
        self._connections.add(connection)
        return connection

    async def _open(self) -> Http1Connection:
        """Dial the addresses, one after the other and overlapping (RFC 8305)."""
        addresses = await self._resolve()
        dialled = await start_connection(addresses, happy_eyeballs_delay=0.25, socket_factory=self._guard.open_socket)
        tls = tls_context(self._tls) if self._url.scheme == "https" else None
        name = (self._url.raw_host or "").rstrip(".") if tls else None
        _, connection = await self._loop.create_connection(
            lambda: Http1Connection(self, self._who, self._loop), sock=dialled, ssl=tls, server_hostname=name
        )
        return connection

    async def _resolve(self) -> list[AddrInfoType]:
        """The addresses of the host, another one first each time; the guard judges them when they are dialled."""
        async with self._resolving:
            if self._loop.time() >= self._addresses_until:
                host, port = self._url.raw_host, self._url.port
                self._addresses = [*await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
                self._addresses_until = self._loop.time() + DNS_SECONDS
            self._addresses.append(self._addresses.pop(0))
            return [*self._addresses]

    def _written(self, method: str, headers: Mapping[str, str], body: bytes | None, target: str = "") -> bytes:
        head = self._head(method, target) if target else self._heads[method]
        try:
            lines = b"".join([_line(n, v) if len(v) < LONG else _made(n, v) for n, v in headers.items()])
        except ValueError:
            what = "has a line break or is not the caller's to set"
            raise UpstreamUnreachable(f"a header for {self._who} {what}") from None
        return b"%b%b%b\r\n" % (head, lines, b"" if body is None else b"content-length: %d\r\n" % len(body))

    def _head(self, method: str, target: str) -> bytes:
        fields = {"accept-encoding": "identity", "user-agent": "toolway", **COMMON[method]}
        host = self._url.host_port_subcomponent
        return f"{method} {target} HTTP/1.1\r\nhost: {host}\r\n".encode() + b"".join(starmap(_line, fields.items()))

    def _watch(self, due: float) -> None:
        """One timer serves all connections: it is set to what is due first, and anew only for something earlier."""
        if self._timer is not None:
            self._timer.cancel()
        self._look_at = due
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        self._look_at, self._timer = inf, None
        for connection in tuple(self._connections):
            if connection.due <= now:
                connection.expire()
        first = min((connection.due for connection in self._connections), default=inf)
        if first < inf:
            self._watch(first)


def _made(name: str, value: str) -> bytes:
    if not value.isprintable() and not _VALUE.fullmatch(value):
        raise ValueError
    return f"{_begun(name)}{value}\r\n".encode()


_line = lru_cache(maxsize=256)(_made)


@lru_cache(maxsize=1024)
def _begun(name: str) -> str:
    """Values may be different each time, as ids of requests are; names never are."""
    if name.lower() in FRAMING or not TOKEN.fullmatch(name):
        raise ValueError
    return f"{name}: "
