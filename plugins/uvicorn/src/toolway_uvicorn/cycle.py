"""One request and its answer on a connection: ASGI `receive` and `send`."""

from __future__ import annotations

import asyncio
import logging
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from toolway.hookspecs.serving import CLOSE, HeaderList
from toolway.hookspecs.structs import Mutable

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from toolway_uvicorn.connection import Connection

log = logging.getLogger("toolway.edge")

_JOINED = 16 * 1024
"""Bytes of a body that are joined to their head, which is cheaper than to write both."""

_FIELD = b"%b: %b\r\n"
_LINE_ENDS = b"\r\n\0"
_flat = chain.from_iterable


class Cycle(msgspec.Struct, eq=False, metaclass=Mutable):
    """One request and its answer, as the application sees them.

    As uvicorn's, with a plainer way to send, as nothing is logged and no lenient name is corrected; and a client that
    is gone is an error for the sender, who would go on for ever. `is_news` says that there is something new for who
    receives, and `waiter` that somebody does; `may_expect` that nothing was received or answered yet. `head` is what
    goes out with the next piece of the body, of which `left` bytes are missing unless it is `chunked`.
    """

    connection: Connection
    scope: Any
    keep_alive: bool
    body: bytes = b""
    more_body: bool = True
    is_news: bool = False
    disconnected: bool = False
    response_started: bool = False
    response_complete: bool = False
    waiter: asyncio.Future[None] | None = None
    may_expect: bool = True
    chunked: bool = False
    head: bytes = b""
    left: int = 0

    async def run(self, app: ASGIApp) -> None:
        """Let the application answer; what it leaves undone ends the connection."""
        self.connection.outbox.in_flight += 1
        try:
            await app(self.scope, self.receive, self.send)
        except Exception:
            log.exception("the application failed")
        finally:
            self.connection.outbox.in_flight -= 1
            if not (self.response_complete or self.disconnected):
                self.connection.write(self.head)
                self.connection.hang_up()

    async def receive(self) -> dict[str, Any]:
        """ASGI `receive`."""
        if not (self.is_news or self.response_complete):
            if self.may_expect and dict(self.scope["headers"]).get(b"expect", b"").lower() == b"100-continue":
                self.connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # RFC 9110 section 10.1.1
            self.may_expect = False
            self.connection.flow.resume_reading()
            self.waiter = self.connection.loop.create_future()
            await self.waiter
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body, self.is_news, self.may_expect = self.body, b"", False, False
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    def wake(self) -> None:
        """Something is new."""
        self.is_news = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def send(self, message: Any) -> None:
        """ASGI `send`; raises `ConnectionResetError` if the client is gone."""
        connection = self.connection
        if connection.flow.write_paused:
            await connection.flow.drain()
        if self.disconnected:
            raise ConnectionResetError("the client is gone")
        if not self.response_started:
            self._send_head(message["status"], message["headers"])
        else:
            self._send_body(message.get("body", b""), message.get("more_body", False))

    def take(self) -> bytes | None:
        """See `Whole`."""
        if self.more_body or self.disconnected or not self.may_expect:
            return None
        body, self.body, self.is_news, self.may_expect = self.body, b"", False, False
        return body

    def answer(self, status: int, headers: HeaderList, body: bytes) -> bool:
        """See `Whole`; what is less plain than most answers has to be sent."""
        connection = self.connection
        if connection.flow.write_paused or self.disconnected or self.response_started or not self.keep_alive:
            return False
        if self.scope["method"] == "HEAD" or status == 204:
            return False
        head = _head(status, [(b"content-length", b"%d" % len(body)), *headers])
        if len(body) <= _JOINED:
            connection.outbox.put(connection.transport, head + body)
        else:
            connection.write(head, body)
        self.response_started = True
        self._end()
        return True

    def _send_body(self, data: bytes, more: bool) -> None:
        connection = self.connection
        if self.response_complete:
            raise RuntimeError("the answer is complete already")
        if self.chunked:
            data = (b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + (b"" if more else b"0\r\n\r\n")
        elif self.scope["method"] == "HEAD":
            data, self.left = b"", 0
        elif (left := self.left - len(data)) < 0 or (left and not more):
            raise RuntimeError("the body of an answer does not have its Content-Length")
        else:
            self.left = left
        if len(data) <= _JOINED:
            connection.outbox.put(connection.transport, self.head + data)
        else:
            connection.write(self.head, data)
        self.head = b""
        if not more:
            self._end()

    def _begin(self) -> None:
        """A stream that has nothing to say yet."""
        head, self.head = self.head, b""
        if head and not self.disconnected:
            self.connection.outbox.put(self.connection.transport, head)

    def _end(self) -> None:
        connection, self.response_complete = self.connection, True
        if self.waiter is not None:
            self.wake()
        if connection.pipeline or connection.flow.read_paused or not self.keep_alive:
            connection.answered(self)

    def _send_head(self, status: int, headers: HeaderList) -> None:
        fields = dict(headers)
        if b"connection" in fields:
            self.keep_alive = self.keep_alive and fields[b"connection"].lower() != b"close"
        elif not self.keep_alive:
            headers = [*headers, CLOSE]
        if (length := fields.get(b"content-length")) is not None:
            self.left = int(length)
        elif self.scope["method"] != "HEAD" and status not in (204, 304):
            self.chunked = True
            headers = [*headers, (b"transfer-encoding", b"chunked")]
        head = _head(status, headers)
        self.response_started, self.may_expect = True, False
        self.head = head  # goes out together with the body, or with its first piece if that comes at once
        if self.chunked:
            self.connection.loop.call_soon(self._begin)


def _head(status: int, headers: HeaderList) -> bytes:
    head = b"%b%b\r\n" % (STATUS_LINE[status], _FIELD * len(headers) % tuple(_flat(headers)))
    if len(head.translate(None, _LINE_ENDS)) != len(head) - 2 * (len(headers) + 2):
        raise ValueError("a header field of an answer contains a line end")
    return head
