"""The least HTTP/1.1 client that keeps connections: asyncio.Protocol and httptools; a limit reference, not a product.

No TLS, no limits, no deadlines, no streaming: what a gateway adds to this is what it costs.
"""

from __future__ import annotations

import asyncio
from typing import cast

import httptools


class Connection(asyncio.Protocol):
    """One connection with one request at a time."""

    def __init__(self, idle: list[Connection]) -> None:
        self._idle = idle
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.WriteTransport | None = None
        self.is_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError())

    def on_message_begin(self) -> None:
        self._parts = []

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        if self._parser.should_keep_alive() and not self.is_closed:
            self._idle.append(self)
        answer, self._answer, parts = self._answer, None, self._parts
        if answer is not None and not answer.done():
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            answer.set_result((self._parser.get_status_code(), body))

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Send the request; the future is its status and body."""
        answer = self._answer = asyncio.get_running_loop().create_future()
        if self._transport is None:
            raise ConnectionResetError
        self._transport.write(request)
        return answer


class Pool:
    """Kept connections to one server; `headers` are complete lines, the same for every request."""

    def __init__(self, host: str, port: int, path: str, headers: str) -> None:
        self._address = host, port
        self._head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{headers}Content-Length: ".encode()
        self._idle: list[Connection] = []

    async def post(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        idle = self._idle
        while idle and idle[-1].is_closed:
            idle.pop()
        connection = idle.pop() if idle else await self._connect()
        return await connection.ask(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))

    async def _connect(self) -> Connection:
        return (await asyncio.get_running_loop().create_connection(lambda: Connection(self._idle), *self._address))[1]
