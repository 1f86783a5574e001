"""The gateway's HTTP manners without a request object: one pass over the headers, JSON or SSE out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from toolway.gateway.streams import EventStream
from toolway.hookspecs.auth import ANONYMOUS, Principal
from toolway.mcp.sse import encode_event

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

STREAM_AFTER = 10.0
PING_SECONDS = 15.0
WATCH_AFTER = 0.05
PING = b":\n\n"
JSON = (b"content-type", b"application/json")
SSE_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class Request(msgspec.Struct, eq=False):
    """One HTTP request: lower-case header names; `repeated` holds the names that came more than once.

    `server` and `principal` are set once it is known who asks for which virtual server.
    """

    method: str
    path: str
    query: str
    address: str
    headers: dict[str, str]
    repeated: frozenset[str]
    receive: Receive
    send: Send
    server: str = ""
    principal: Principal = ANONYMOUS
    started: bool = False

    async def body(self) -> bytes:
        """The whole body; raises ConnectionResetError when the client leaves before it is complete."""
        message = await self.receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            return bytes(message.get("body", b""))
        parts = []
        while message["type"] == "http.request":
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                return b"".join(parts)
            message = await self.receive()
        raise ConnectionResetError("the client left before its request was complete")

    async def reply(self, status: int, body: bytes = b"", headers: Headers | None = None) -> None:
        """Send a complete response; 503 says when to try again."""
        fields = [(b"content-length", str(len(body)).encode()), *(headers or ()), *([JSON] if body else ())]
        await self.start(status, [*fields, (b"retry-after", b"1")] if status == 503 else fields)
        await self.write(body)

    async def start(self, status: int, headers: Headers) -> None:
        """Send status and headers; from now on the response cannot become an error."""
        self.started = True
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, body: bytes = b"", *, more: bool = False) -> None:
        """Send a piece of the body, the last one unless there is `more`."""
        await self.send({"type": "http.response.body", "body": body, "more_body": more})


def read_request(scope: Scope, receive: Receive, send: Send) -> Request:
    """Collect what the gateway looks at."""
    headers: dict[str, str] = {}
    repeated: set[str] = set()
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").lower()
        if name in headers:
            repeated.add(name)
        headers[name] = raw_value.decode("latin-1")
    client, path, root = scope.get("client"), scope["path"], scope.get("root_path", "")
    if root and path.startswith(root):
        path = path[len(root) :]
    query, address = scope.get("query_string", b"").decode("latin-1"), client[0] if client else ""
    return Request(scope["method"], path, query, address, headers, frozenset(repeated), receive, send)


class Watcher:
    """Notices that the client left, from a little after the request on."""

    def __init__(self, request: Request, stream: EventStream) -> None:
        self._receive = request.receive
        self._stream = stream
        self._gone: asyncio.Future[Any] | None = None
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER, self._start)

    @property
    def left(self) -> bool:
        """Whether the client is gone."""
        return self._gone is not None and self._gone.done()

    def stop(self) -> None:
        """The response is complete."""
        self._timer.cancel()
        if self._gone is not None:
            self._gone.cancel()

    def _start(self) -> None:
        self._gone = asyncio.ensure_future(self._disconnected())
        self._gone.add_done_callback(self._wake)

    async def _disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _wake(self, gone: asyncio.Future[Any]) -> None:
        if not gone.cancelled():
            gone.exception()
            self._stream.wake()


Frame = Callable[[EventStream, int, bytes], bytes]


class Answer(msgspec.Struct, eq=False):
    """Writes an `EventStream` as the response: JSON when it holds just the reply, else server-sent events.

    `frame` makes an event of a message and its number; `first` is what a stream begins with.
    """

    request: Request
    stream: EventStream
    status: Callable[[], int] = lambda: 200
    frame: Frame = lambda stream, sequence, message: encode_event(message)
    first: bytes = PING
    streamed: bool = False

    async def write(self, *, sse: bool = False, position: int = 0) -> bool:
        """Write until the stream is closed; False when the client left before, or read too slowly."""
        request, stream = self.request, self.stream
        watcher = Watcher(request, stream)
        try:
            if not sse:
                await stream.wait(position, STREAM_AFTER)
                if watcher.left:
                    return False
                if stream.closed and stream.sequence == position + 1:
                    await request.reply(self.status(), stream.events[-1][1])
                    stream.sent(stream.sequence)
                    return True
            await self._begin()
            return await self._events(watcher, position)
        finally:
            watcher.stop()

    async def _begin(self) -> None:
        self.streamed = True
        await self.request.start(200, SSE_HEADERS)
        await self.request.write(self.first, more=True)

    async def _events(self, watcher: Watcher, position: int) -> bool:
        request, stream = self.request, self.stream
        while True:
            if events := stream.since(position):
                chunk = b"".join(self.frame(stream, sequence, message) for sequence, message in events)
                await request.write(chunk, more=True)
                position = events[-1][0]
                stream.sent(position)
            elif stream.closed:
                await request.write()
                return not stream.overflowed
            elif watcher.left:
                return False
            elif not await stream.wait(position, PING_SECONDS):
                await request.write(PING, more=True)
