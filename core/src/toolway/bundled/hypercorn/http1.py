"""HTTP/1.1 on h11, hypercorn's parser, with a strict reading of heads (RFC 9112) and without upgrades.

h11 alone joins folded lines, takes a bare LF for a line end and merges equal Content-Length fields: what a proxy in
front may read differently is refused here, before a request exists. Upgrades are ignored, as RFC 9110 section 7.8
allows.

hypercorn's own layers around h11 took most of the time of a short request, so plain calls are in their place; and a
body of known length that is here as a whole, of a request as of an answer, does not go through h11 at all.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import h11
from hypercorn.utils import suppress_body

from toolway.bundled.hypercorn.inbox import Inbox
from toolway.hookspecs.serving import KNOWN, HeaderList, unreadable

if TYPE_CHECKING:
    from toolway.bundled.hypercorn.connection import Connection

_AHEAD = 64 * 1024
_BLANK_LINE = re.compile(rb"\n\r?\n")
_LINE_TROUBLE = re.compile(rb"(?<!\r)\n|\r(?!\n)|\r\n[ \t]|\x00")
_FRAMING = re.compile(rb"\n(?:content-length|transfer-encoding)[ \t]*:", re.IGNORECASE)
_LINE_ENDS = b"\r\n\0"
_LENGTH = b"content-length"
Known = tuple[dict[str, Any], HeaderList, int]
"""Of a head that came before: its scope, and which of the headers is Content-Length."""


def read_request(connection: Connection, data: bytes) -> Exchange | None:
    """The request that the bytes begin with, None while its head is not complete; raises `Refusal`."""
    match = _BLANK_LINE.search(data)
    head = data[: match.end()] if match else data
    if match and (_LINE_TROUBLE.search(head) or len(_FRAMING.findall(head)) > 1):
        raise unreadable(400)
    parser = h11.Connection(h11.SERVER, connection.limits.head_size)
    parser.receive_data(head)
    try:
        request: Any = parser.next_event()
    except h11.RemoteProtocolError as error:
        is_long_line = error.error_status_hint == 431 and b"\n" not in data
        raise unreadable(414 if is_long_line else error.error_status_hint) from error
    if match is None:
        return None
    scope, body = {**connection.scope, **_read(request)}, data[len(head) :]
    exchange, fields = Exchange(connection, scope, head, parser), dict(scope["headers"])
    if parser.they_are_waiting_for_100_continue:
        connection.put(b"HTTP/1.1 100 Continue\r\n\r\n")
    if b"transfer-encoding" in fields or len(body) != int(fields.get(b"content-length", 0)):
        exchange.feed(body)
    else:
        exchange.put(body, more=False)
        if b"expect" not in fields:
            connection.heads.learn(data, len(body), partial(_known, scope))
    return exchange


def repeated_request(connection: Connection, data: bytes) -> Exchange | None:
    """The request that the bytes are, if its head came before on this connection."""
    if (found := connection.heads.find(data)) is None:
        return None
    (scope, headers, place), length, body = found
    headers = headers.copy()
    headers[place] = _LENGTH, length
    exchange = Exchange(connection, {**scope, "headers": headers}, data[: len(data) - len(body)])
    exchange.put(body, more=False)
    return exchange


def _read(request: h11.Request) -> dict[str, Any]:
    """What its head says, for the scope."""
    path, _, query = request.target.partition(b"?")
    line = {"http_version": request.http_version.decode("ascii"), "method": request.method.decode("ascii").upper()}
    target = {"path": unquote(path.decode("ascii")), "raw_path": path, "query_string": query}
    return {**line, **target, "headers": [(name.lower(), value) for name, value in request.headers.raw_items()]}


class Exchange(Inbox):
    """One request and its answer, as the application sees them."""

    is_last, ahead = False, b""
    answer: Any = None

    def __init__(
        self, connection: Connection, scope: dict[str, Any], head: bytes, parser: h11.Connection | None = None
    ) -> None:
        """`parser` has read the head, unless it is one that came before."""
        super().__init__(connection.transport.resume_reading)
        self._connection, self.scope, self._head, self._made = connection, scope, head, parser
        stays = dict(scope["headers"]).get(b"connection", b"keep-alive").lower() == b"keep-alive"
        self._is_plain = stays and scope["http_version"] == "1.1" and scope["method"] != "HEAD"

    @property
    def _parser(self) -> h11.Connection:
        """What is not plain needs one."""
        if self._made is None:
            self._made = h11.Connection(h11.SERVER, self._connection.limits.head_size)
            self._made.receive_data(self._head)
            self._made.next_event()
        return self._made

    def feed(self, data: bytes) -> None:
        """What the client sends goes on: the body, or what comes after it. Raises `Refusal`."""
        self.ahead += data
        has_room = self._read_body() if self.more_body else len(self.ahead) <= _AHEAD
        if not has_room:
            self._connection.transport.pause_reading()

    def _read_body(self) -> bool:
        if self.ahead:
            self._parser.receive_data(self.ahead)
        body = bytearray()
        try:
            while type(event := self._parser.next_event()) is h11.Data:
                body += event.data
        except h11.RemoteProtocolError as error:
            raise unreadable(error.error_status_hint) from error
        more = event is h11.NEED_DATA
        self.ahead = b"" if more else self._parser.trailing_data[0]
        return self.put(bytes(body), more)

    async def run(self, app: Any) -> None:
        """Let the application answer; what it leaves undone ends the connection."""
        box = self._connection.outbox
        box.in_flight += 1
        try:
            await app(self.scope, self.receive, self.send)
        finally:
            box.in_flight -= 1
            if not self.is_closed:
                self._connection.hang_up()

    async def send(self, message: Any) -> None:
        """ASGI `send`; raises `ConnectionResetError` if the client is gone, or has its whole answer."""
        if self.is_closed:
            raise ConnectionResetError("the client is gone")
        if self.answer is None:
            self.answer, fields = message, dict(message["headers"])
            self._size = (
                int(fields.get(b"content-length", -1)) if self._is_plain and b"connection" not in fields else -1
            )
            return self._send_head() if self._size < 0 else None
        data, more = message.get("body", b""), message.get("more_body", False)
        is_whole = len(data) == self._size and not more
        if is_whole:
            self._connection.write(_head(self.answer["status"], self.answer["headers"]) + data)
        else:
            self._send_body(data, more)
        await self._connection.drained()
        if not more:
            self.close()
            may_follow = is_whole or self._parser.our_state is h11.DONE
            self._connection.answered(self.ahead, may_follow and not (self.is_last or self.more_body))

    def _send_head(self) -> None:
        self._size = -1
        self._put(h11.Response(status_code=self.answer["status"], headers=list(self.answer["headers"])))

    def _send_body(self, data: bytes, more: bool) -> None:
        if self._size >= 0:
            self._send_head()
        if data and not suppress_body(self.scope["method"], self.answer["status"]):
            self._put(h11.Data(data))
        if not more:
            self._put(h11.EndOfMessage())

    def _put(self, event: Any) -> None:
        self._connection.put(self._parser.send(event))

    def waits_for(self) -> None:
        """Nothing but the answer: see `ClientConnection`."""

    def finish(self) -> None:
        """The answer in flight is the last one."""
        self.is_last = True


def _head(status: int, headers: HeaderList) -> bytes:
    head = b"".join([b"HTTP/1.1 %d \r\n" % status, *[b"%b: %b\r\n" % field for field in headers], b"\r\n"])
    if len(head.translate(None, _LINE_ENDS)) != len(head) - 2 * len(headers) - 4:
        raise ValueError("a header field of an answer contains a line end")
    return head


def _known(scope: dict[str, Any]) -> Known:
    headers: HeaderList = [*scope["headers"]]
    return {**scope, KNOWN: {}}, headers, [name for name, _ in headers].index(_LENGTH)
