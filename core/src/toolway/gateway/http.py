"""The gateway's HTTP manners without a framework: the request as it came, the answer as JSON or SSE."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.types import Receive, Scope, Send

from toolway.gateway.access import NOBODY
from toolway.gateway.head import Head
from toolway.gateway.streams import EventStream
from toolway.hookspecs.auth import AuthContext, Principal, Visit
from toolway.hookspecs.serving import WHOLE, HeaderList
from toolway.hookspecs.structs import Mutable
from toolway.mcp.messages import Envelope, decode, measured
from toolway.mcp.sse import encode_event

if TYPE_CHECKING:
    from toolway.gateway.exchange import Exchange

STREAM_AFTER = 10.0
PING_SECONDS = 15.0
PING = b":\n\n"
JSON = (b"content-type", b"application/json")
SSE_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class Request(msgspec.Struct, eq=False, metaclass=Mutable):
    """One HTTP request for the virtual server that its `head` names; `headers` are the `FIELDS` of the edge.

    `principal` is set once it is known who asks, `id` once the body is read; `started` and `streamed` say that the
    response has begun, and that it is events.
    """

    scope: Scope
    receive: Receive
    send: Send
    headers: dict[bytes, bytes]
    head: Head
    principal: Principal = NOBODY.principal
    id: int | str | None = None
    started: bool = False
    streamed: bool = False

    @property
    def address(self) -> str:
        """The client's address; empty when it has none."""
        return (self.scope.get("client") or ("",))[0]

    def header(self, name: bytes) -> str | None:
        """The value of a header, by its name in lower case."""
        return self.headers[name].decode("latin-1") if name in self.headers else None

    def visit(self) -> Visit:
        """What authenticators need to know."""
        scope, headers = self.scope, self.headers
        agent = headers.get(b"user-agent", b"").decode("latin-1")
        context = AuthContext(self.head.server, self.address, scope["path"], agent)
        return Visit(headers.get(b"authorization"), headers.get(b"x-api-key"), context)

    async def body(self) -> bytes:
        """All of it; raises ConnectionResetError when the client leaves before its end."""
        parts = []
        while (message := await self.receive())["type"] == "http.request":
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                return b"".join(parts)
        raise ConnectionResetError("the client left before its request was complete")

    def answered(self, status: int, fields: HeaderList, body: bytes) -> bool:
        """Whether a complete response could be sent at once; otherwise nothing was."""
        self.started, whole = True, self.scope.get(WHOLE)
        return whole is not None and whole.answer(status, fields, body)

    async def reply(self, status: int, body: bytes = b"", *headers: tuple[bytes, bytes]) -> None:
        """Send a complete response."""
        fields = [JSON, *headers] if body else [*headers]
        if not self.answered(status, fields, body):
            if status != 204:  # RFC 9110 section 8.6
                fields.append((b"content-length", b"%d" % len(body)))
            await self.send({"type": "http.response.start", "status": status, "headers": fields})
            await self.send({"type": "http.response.body", "body": body})


def fields_of(headers: Mapping[str, str]) -> HeaderList:
    """As they go out."""
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()] if headers else []


async def decode_patiently(body: bytes) -> Envelope:
    """As `decode`, for a long body: nobody else is kept waiting while it is measured."""
    for _ in measured(body):
        await asyncio.sleep(0)
    return decode(body, is_measured=True)


class Answer(msgspec.Struct, eq=False, metaclass=Mutable):
    """Writes an `EventStream` as the response: JSON when it holds just the reply, else server-sent events.

    `frame` makes an event of a message's number and the message; `first` makes what a stream begins with; `gone` is
    called when the client leaves before the end, or does not get all.
    """

    request: Request
    stream: EventStream
    frame: Callable[[int, bytes], bytes] = lambda sequence, message: encode_event(message)
    first: Callable[[], bytes] = lambda: PING
    gone: Callable[[], None] = lambda: None
    left: bool = False
    over: bool = False
    timer: asyncio.TimerHandle | None = None
    watch: asyncio.Future[Any] | None = None
    writing: asyncio.Task[bool] | None = None
    exchange: Exchange | None = None

    async def reply(self, work: Awaitable[Any], exchange: Exchange) -> None:
        """The response while `work` makes the reply and closes the stream.

        `is_slow` has to be called unless this is over soon. Raises what the exchange was refused for, if nothing was
        written yet: the front door has the challenge for it.
        """
        stream, is_complete, self.exchange = self.stream, False, exchange
        stream.more = self._soon
        try:
            await work
            if self.writing is not None:
                is_complete = await self.writing
            elif stream.sequence == 1 and stream.closed and not self.left:
                if exchange.refused is not None:
                    raise exchange.refused
                fields, body = fields_of(exchange.headers) if exchange.headers else [], stream.events[-1][1]
                if not self.request.answered(exchange.status, [JSON, *fields], body):
                    await self.request.reply(exchange.status, body, *fields)
                is_complete = True
            elif not self.left:
                is_complete = await self._write(0)
        finally:
            self.over, stream.more = True, None
            if self.watch is not None:
                self._stop()
            if not is_complete:
                self.gone()

    async def events(self, position: int = 0) -> bool:
        """Server-sent events until the stream is closed; False when the client left before, or read too slowly."""
        self.is_slow()
        try:
            return await self._write(position)
        finally:
            self._stop()

    def is_slow(self) -> None:
        """Watch for a client that leaves, and answer with events before intermediaries lose patience."""
        if not self.over:
            self.watch = asyncio.ensure_future(self._disconnected())
            self.watch.add_done_callback(self._wake)
            self.timer = asyncio.get_running_loop().call_later(STREAM_AFTER, self._stream)

    async def _write(self, position: int) -> bool:
        request, stream = self.request, self.stream
        request.started = request.streamed = True
        fields = [*SSE_HEADERS, *fields_of(self.exchange.headers if self.exchange is not None else {})]
        await request.send({"type": "http.response.start", "status": 200, "headers": fields})
        text = self.first()
        while True:
            if events := stream.since(position):
                text += b"".join([self.frame(*event) for event in events])
                position = events[-1][0]
            if text or stream.closed:
                is_last = stream.closed
                await request.send({"type": "http.response.body", "body": text, "more_body": not is_last})
                stream.sent(position)
                if is_last:
                    return not stream.overflowed
                text = b""
            elif self.left:
                return False
            elif not await stream.wait(position, PING_SECONDS):
                text = PING

    def _soon(self) -> None:
        """Answer with events, unless the reply comes at once: then all of it goes out together, without a task."""
        self.stream.more = None
        asyncio.get_running_loop().call_soon(self._stream)

    def _stream(self) -> None:
        if self.writing is None and not (self.over or self.left or self.request.started):
            self.writing = asyncio.ensure_future(self._write(0))
            self.writing.add_done_callback(self._written)

    def _written(self, writing: asyncio.Task[bool]) -> None:
        if not writing.cancelled() and (writing.exception() or not writing.result()):
            self.gone()

    def _stop(self) -> None:
        for each in (self.timer, self.watch, self.writing):
            if each is not None:
                each.cancel()

    async def _disconnected(self) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            pass

    def _wake(self, watch: asyncio.Future[Any]) -> None:
        if not watch.cancelled():
            watch.exception()
            self.left = True
            self.stream.wake()
            self.gone()
