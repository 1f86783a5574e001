"""Messages between nodes: answers, cancels and streams that belong to state another node holds."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec

from toolway.background import Background
from toolway.errors import CallLost
from toolway.gateway.streams import EventStream
from toolway.hookspecs.caching import PubSub

EVERYWHERE = "toolway.nodes"
ACKNOWLEDGE_SECONDS = 3.0
PING_SECONDS = 15.0
SILENCE_SECONDS = 45.0
PART_BYTES = 512 * 1024
"""Pub/sub carries at most 1 MiB; what is longer goes in parts."""
UNFINISHED = 64


class Message(msgspec.Struct, array_like=True):
    """One message: `stream` ties the pieces of a relayed stream together; `data` None ends it."""

    kind: str
    sender: str
    body: dict[str, Any] = {}
    stream: str = ""
    data: bytes | None = None


Reply = Callable[[bytes | None], Awaitable[None]]
Handler = Callable[[dict[str, Any]], Coroutine[Any, Any, None]]
StreamHandler = Callable[[dict[str, Any], Reply], Coroutine[Any, Any, None]]


class Relay:
    """Reaches other nodes over pub/sub. Handlers run as tasks; a failing one is logged and affects nobody else."""

    def __init__(self, node: str, pubsub: PubSub) -> None:
        self._node, self._pubsub = node, pubsub
        self._handlers: dict[str, Handler] = {}
        self._streams: dict[str, StreamHandler] = {}
        self._open: dict[str, asyncio.Queue[bytes | None]] = {}
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._parts: OrderedDict[str, list[bytes]] = OrderedDict()
        self._background = Background()
        self._order = asyncio.Lock()
        self._serial = 0
        self.is_listening = False

    def on(self, kind: str, handler: Handler) -> None:
        """Serve one-way messages of this kind."""
        self._handlers[kind] = handler

    def on_stream(self, kind: str, handler: StreamHandler) -> None:
        """Serve relayed streams of this kind: call the reply with each piece."""
        self._streams[kind] = handler

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Listen while the context is open."""
        async with AsyncExitStack() as stack:
            for channel in (EVERYWHERE, self._channel(self._node)):
                await stack.enter_async_context(self._pubsub.subscribe(channel, self._receive))
            stack.push_async_callback(self._background.close)
            self.is_listening = True
            yield

    def send(self, node: str, kind: str, **body: Any) -> None:
        """Tell one node, soon; a failure is logged."""
        self._tell(self._channel(node), Message(kind, self._node, body))

    def tell_all(self, kind: str, **body: Any) -> None:
        """Tell every other node, soon; a failure is logged."""
        self._tell(EVERYWHERE, Message(kind, self._node, body))

    @asynccontextmanager
    async def filling(self, stream: EventStream, node: str, kind: str, /, **body: Any) -> AsyncIterator[None]:
        """While this is open, what the other node sends goes on the stream; raises CallLost when it does not answer."""
        pieces = self.stream(node, kind, **body)
        await anext(pieces)
        task = self._background.start(fill(stream, pieces), f"a relayed {kind}")
        task.add_done_callback(lambda _: stream.close())
        try:
            yield
        finally:
            task.cancel()

    async def stream(self, node: str, kind: str, **body: Any) -> AsyncIterator[bytes]:
        """The pieces that the other node sends, first an empty one; raises CallLost when it does not answer (any more).

        Empty pieces say only that it is still there.
        """
        self._serial += 1
        name = f"{self._node}.{self._serial}"
        queue = self._open[name] = asyncio.Queue()
        try:
            await self._publish(self._channel(node), Message(kind, self._node, body, stream=name))
            patience = ACKNOWLEDGE_SECONDS
            while (piece := await _next(queue, patience, node)) is not None:
                yield piece
                patience = SILENCE_SECONDS
        finally:
            del self._open[name]
            self._tell(self._channel(node), Message("end", self._node, stream=name))

    @staticmethod
    def _channel(node: str) -> str:
        return f"toolway.node.{node}"

    def _tell(self, channel: str, message: Message) -> None:
        async def tell() -> None:
            async with self._order:
                await self._publish(channel, message)

        self._background.start(tell(), f"relaying {message.kind} to {channel}")

    async def _publish(self, channel: str, message: Message) -> None:
        payload = msgspec.msgpack.encode(message)
        if len(payload) <= PART_BYTES:
            await self._pubsub.publish(channel, payload)
            return
        self._serial += 1
        name = f"{self._node}.{self._serial}"
        for start in range(0, len(payload), PART_BYTES):
            body = {"of": name, "last": start + PART_BYTES >= len(payload)}
            part = Message("part", self._node, body, data=payload[start : start + PART_BYTES])
            await self._pubsub.publish(channel, msgspec.msgpack.encode(part))

    async def _receive(self, payload: bytes) -> None:
        message = msgspec.msgpack.decode(payload, type=Message)
        if message.kind == "part":
            await self._assemble(message)
        elif message.kind == "piece":
            if (queue := self._open.get(message.stream)) is not None:
                queue.put_nowait(message.data)
        elif message.kind == "end":
            if (task := self._serving.pop(message.stream, None)) is not None:
                task.cancel()
        elif message.stream:
            self._serving[message.stream] = self._background.start(self._serve(message), f"relayed {message.kind}")
        elif message.sender != self._node and (handler := self._handlers.get(message.kind)) is not None:
            self._background.start(handler(message.body), f"relayed {message.kind} from node {message.sender}")

    async def _assemble(self, part: Message) -> None:
        parts = self._parts.setdefault(part.body["of"], [])
        parts.append(part.data or b"")
        if part.body["last"]:
            await self._receive(b"".join(self._parts.pop(part.body["of"])))
        elif len(self._parts) > UNFINISHED:
            self._parts.popitem(last=False)

    async def _serve(self, message: Message) -> None:
        async def reply(data: bytes | None) -> None:
            piece = Message("piece", self._node, stream=message.stream, data=data)
            await self._publish(self._channel(message.sender), piece)

        pinger = self._background.start(_ping(reply), "a ping of a relayed stream")
        try:
            await reply(b"")
            await self._streams[message.kind](message.body, reply)
        finally:
            pinger.cancel()
            self._serving.pop(message.stream, None)
            await reply(None)


async def fill(stream: EventStream, pieces: AsyncIterator[bytes]) -> None:
    """Put what another node sends on the stream."""
    async for message in pieces:
        if message:
            stream.put(message)


async def _ping(reply: Reply) -> None:
    while True:
        await asyncio.sleep(PING_SECONDS)
        await reply(b"")


async def _next(queue: asyncio.Queue[bytes | None], seconds: float, node: str) -> bytes | None:
    try:
        async with asyncio.timeout(seconds):
            return await queue.get()
    except TimeoutError:
        raise CallLost(f"node {node}, which held this call, does not answer; its outcome is unknown") from None
