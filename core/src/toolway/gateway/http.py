"""The gateway's HTTP manners without a request object: one pass over the headers, JSON or SSE out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from toolway.gateway.streams import EventStream
from toolway.mcp.sse import encode_event

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

STREAM_AFTER = 10.0
PING_SECONDS = 15.0
WATCH_AFTER = 0.05
JSON = (b"content-type", b"application/json")
SSE_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]

EncodeId = Callable[[EventStream, int], str]


class Request(msgspec.Struct, eq=False):
    """One HTTP request: lower-case header names; `repeated` holds the names that came more than once."""

    method: str
    path: str
    query: str
    address: str
    headers: dict[str, str]
    repeated: frozenset[str]
    receive: Receive
    send: Send

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

    async def reply(self, status: int, body: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None) -> None:
        """Send a complete response."""
        length = (b"content-length", str(len(body)).encode())
        fields = [length, *(headers or ()), *([JSON] if body else ())]
        await self.send({"type": "http.response.start", "status": status, "headers": fields})
        await self.send({"type": "http.response.body", "body": body})


def read_request(scope: Scope, receive: Receive, send: Send) -> Request:
    """Collect what the gateway looks at."""
    headers: dict[str, str] = {}
    repeated: set[str] = set()
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").lower()
        if name in headers:
            repeated.add(name)
        headers[name] = raw_value.decode("latin-1")
    client = scope.get("client")
    path = scope["path"]
    root = scope.get("root_path", "")
    if root and path.startswith(root):
        path = path[len(root) :]
    return Request(
        scope["method"],
        path,
        scope.get("query_string", b"").decode("latin-1"),
        client[0] if client else "",
        headers,
        frozenset(repeated),
        receive,
        send,
    )


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


class Answer:
    """Writes an `EventStream` as the response: JSON when it holds just the reply, else server-sent events.

    `event_id` gives resumable events their ids (legacy); `prime` sends an empty event first (2025-11-25).
    """

    def __init__(
        self,
        request: Request,
        stream: EventStream,
        *,
        status: Callable[[], int] = lambda: 200,
        event_id: EncodeId | None = None,
        prime: bool = False,
        headers: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        self._request = request
        self._stream = stream
        self._status = status
        self._event_id = event_id
        self._prime = prime
        self._headers = headers or []

    async def write(self, *, sse: bool = False, position: int = 0) -> bool:
        """Write until the stream is closed; False when the client left before."""
        stream = self._stream
        watcher = Watcher(self._request, stream)
        try:
            if not sse:
                await stream.wait(position, STREAM_AFTER)
                if watcher.left:
                    return False
                if stream.closed and stream.sequence == position + 1:
                    await self._request.reply(self._status(), stream.events[-1][1], self._headers)
                    stream.sent(stream.sequence)
                    return True
            return await self._events(watcher, position)
        finally:
            watcher.stop()

    async def _events(self, watcher: Watcher, position: int) -> bool:
        send, stream = self._request.send, self._stream
        start = {"type": "http.response.start", "status": 200, "headers": [*SSE_HEADERS, *self._headers]}
        await send(start)
        first = encode_event(b"", id=self._id(0), retry=1000) if self._prime else b":\n\n"
        await send({"type": "http.response.body", "body": first, "more_body": True})
        while True:
            if events := stream.since(position):
                chunk = b"".join(encode_event(data, id=self._id(sequence)) for sequence, data in events)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                position = events[-1][0]
                stream.sent(position)
            elif stream.closed:
                await send({"type": "http.response.body", "body": b""})
                return True
            elif watcher.left:
                return False
            elif not await stream.wait(position, PING_SECONDS):
                await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})

    def _id(self, sequence: int) -> str | None:
        return self._event_id(self._stream, sequence) if self._event_id else None
