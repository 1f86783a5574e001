"""One request and its answer on a connection: ASGI `receive` and `send`."""

from __future__ import annotations

import asyncio
import logging
from itertools import chain
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from toolway.hookspecs.serving import CLOSE, HeaderList

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from toolway_uvicorn.connection import Connection

log = logging.getLogger("toolway.edge")

_JOINED = 16 * 1024
"""Bytes of a body that are joined to their head, which is cheaper than to write both."""

_FIELD = b"%b: %b\r\n"
_LINE_ENDS = b"\r\n\0"


class Cycle:
    """One request and its answer, as the application sees them.

    As uvicorn's, with a plainer way to send, as nothing is logged and no lenient name is corrected; and a client that
    is gone is an error for the sender, who would go on for ever.
    """

    __slots__ = (
        *(
            "body",
            "disconnected",
            "is_news",
            "keep_alive",
            "more_body",
            "response_complete",
            "response_started",
            "scope",
        ),
        *("waiter", "_chunked", "_connection", "_head", "_left", "_may_expect"),
    )

    def __init__(self, connection: Connection, scope: Any, *, keep_alive: bool) -> None:
        """`is_news` says that there is something new for who receives, and `waiter` that somebody does."""
        self.scope = scope
        self.keep_alive = keep_alive
        self.body = b""
        self.more_body = True
        self.disconnected = self.response_started = self.response_complete = self.is_news = self._chunked = False
        self.waiter: asyncio.Future[None] | None = None
        self._connection = connection
        self._may_expect = True
        self._head = b""
        self._left = 0

    async def run(self, app: ASGIApp) -> None:
        """Let the application answer; what it leaves undone ends the connection."""
        self._connection.outbox.in_flight += 1
        try:
            await app(self.scope, self.receive, self.send)
        except Exception:
            log.exception("the application failed")
        finally:
            self._connection.outbox.in_flight -= 1
            if not (self.response_complete or self.disconnected):
                self._connection.write(self._head)
                self._connection.hang_up()

    async def receive(self) -> dict[str, Any]:
        """ASGI `receive`."""
        if not self.is_news:
            if self._may_expect and dict(self.scope["headers"]).get(b"expect", b"").lower() == b"100-continue":
                self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # RFC 9110 section 10.1.1
            self._may_expect = False
            self._connection.flow.resume_reading()
            self.waiter = self._connection.loop.create_future()
            await self.waiter
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body, self.is_news, self._may_expect = self.body, b"", False, False
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    def wake(self) -> None:
        """Something is new."""
        self.is_news = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def send(self, message: Any) -> None:
        """ASGI `send`; raises `ConnectionResetError` if the client is gone."""
        connection = self._connection
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
        if self.more_body or self.disconnected or not self._may_expect:
            return None
        body, self.body, self.is_news, self._may_expect = self.body, b"", False, False
        return body

    def answer(self, status: int, headers: HeaderList, body: bytes) -> bool:
        """See `Whole`; what is less plain than most answers has to be sent."""
        connection, fields = self._connection, dict(headers)
        if connection.flow.write_paused or self.disconnected or self.response_started or not self.keep_alive:
            return False
        if fields.get(b"content-length") != b"%d" % len(body) or b"connection" in fields or len(body) > _JOINED:
            return False
        if self.scope["method"] == "HEAD":
            return False
        connection.outbox.put(connection.transport, _head(status, headers) + body)
        self.response_started = True
        self._end()
        return True

    def _send_body(self, data: bytes, more: bool) -> None:
        connection = self._connection
        if self.response_complete:
            raise RuntimeError("the answer is complete already")
        if self._chunked:
            data = (b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + (b"" if more else b"0\r\n\r\n")
        elif self.scope["method"] == "HEAD":
            data, self._left = b"", 0
        elif (left := self._left - len(data)) < 0 or (left and not more):
            raise RuntimeError("the body of an answer does not have its Content-Length")
        else:
            self._left = left
        if len(data) <= _JOINED:
            connection.outbox.put(connection.transport, self._head + data)
        else:
            connection.write(self._head, data)
        self._head = b""
        if not more:
            self._end()

    def _begin(self) -> None:
        """A stream that has nothing to say yet."""
        head, self._head = self._head, b""
        if head and not self.disconnected:
            self._connection.outbox.put(self._connection.transport, head)

    def _end(self) -> None:
        connection, self.response_complete = self._connection, True
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
            self._left = int(length)
        elif self.scope["method"] != "HEAD" and status not in (204, 304):
            self._chunked = True
            headers = [*headers, (b"transfer-encoding", b"chunked")]
        head = _head(status, headers)
        self.response_started, self._may_expect = True, False
        self._head = head  # goes out together with the body, or with its first piece if that comes at once
        if self._chunked:
            self._connection.loop.call_soon(self._begin)


def _head(status: int, headers: HeaderList) -> bytes:
    head = b"%b%b\r\n" % (STATUS_LINE[status], _FIELD * len(headers) % tuple(chain.from_iterable(headers)))
    if len(head.translate(None, _LINE_ENDS)) != len(head) - 2 * (len(headers) + 2):
        raise ValueError("a header field of an answer contains a line end")
    return head
