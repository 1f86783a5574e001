"""Messages between nodes: answers, cancels and streams that belong to state another node holds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from toolway.errors import CallLost

if TYPE_CHECKING:
    from toolway.hookspecs.caching import PubSub

log = logging.getLogger(__name__)

EVERYWHERE = "toolway.nodes"
ACKNOWLEDGE_SECONDS = 3.0


class Message(msgspec.Struct, array_like=True):
    """One message: `stream` ties replies of a relayed stream together; `data` None ends it."""

    kind: str
    sender: str
    body: dict[str, Any] = {}
    stream: str = ""
    data: bytes | None = None


Reply = Callable[[bytes | None], Awaitable[None]]
Handler = Callable[[dict[str, Any]], Awaitable[None]]
StreamHandler = Callable[[dict[str, Any], Reply], Awaitable[None]]


class Relay:
    """Reaches other nodes over pub/sub. Handlers run as tasks; a failing one is logged and affects nobody else."""

    def __init__(self, node: str, pubsub: PubSub) -> None:
        self._node = node
        self._pubsub = pubsub
        self._handlers: dict[str, Handler] = {}
        self._streams: dict[str, StreamHandler] = {}
        self._open: dict[str, asyncio.Queue[bytes | None]] = {}
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._serial = 0

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
            try:
                yield
            finally:
                for task in [*self._tasks, *self._serving.values()]:
                    task.cancel()

    async def send(self, node: str, kind: str, **body: Any) -> None:
        """Tell one node."""
        await self._publish(self._channel(node), Message(kind, self._node, body))

    async def tell_all(self, kind: str, **body: Any) -> None:
        """Tell every other node."""
        await self._publish(EVERYWHERE, Message(kind, self._node, body))

    async def stream(self, node: str, kind: str, **body: Any) -> AsyncIterator[bytes]:
        """The pieces that the other node sends; raises CallLost when it does not answer."""
        self._serial += 1
        name = f"{self._node}.{self._serial}"
        queue = self._open[name] = asyncio.Queue()
        try:
            await self._publish(self._channel(node), Message(kind, self._node, body, stream=name))
            await _acknowledged(queue, node)
            while (piece := await queue.get()) is not None:
                yield piece
        finally:
            del self._open[name]
            await self._publish(self._channel(node), Message("end", self._node, stream=name))

    @staticmethod
    def _channel(node: str) -> str:
        return f"toolway.node.{node}"

    async def _publish(self, channel: str, message: Message) -> None:
        await self._pubsub.publish(channel, msgspec.msgpack.encode(message))

    async def _receive(self, payload: bytes) -> None:
        message = msgspec.msgpack.decode(payload, type=Message)
        if message.kind == "piece":
            if (queue := self._open.get(message.stream)) is not None:
                queue.put_nowait(message.data)
        elif message.kind == "end":
            if (task := self._serving.pop(message.stream, None)) is not None:
                task.cancel()
        elif message.stream:
            self._serving[message.stream] = asyncio.create_task(self._serve(message))
        elif message.sender != self._node and message.kind in self._handlers:
            task = asyncio.create_task(self._handle(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _handle(self, message: Message) -> None:
        try:
            await self._handlers[message.kind](message.body)
        except Exception:
            log.exception("relayed message %r from node %s failed", message.kind, message.sender)

    async def _serve(self, message: Message) -> None:
        async def reply(data: bytes | None) -> None:
            await self._publish(
                self._channel(message.sender), Message("piece", self._node, stream=message.stream, data=data)
            )

        try:
            await reply(b"")
            await self._streams[message.kind](message.body, reply)
        except Exception:
            log.exception("relayed stream %r for node %s failed", message.kind, message.sender)
        finally:
            self._serving.pop(message.stream, None)
            await reply(None)


async def _acknowledged(queue: asyncio.Queue[bytes | None], node: str) -> None:
    try:
        async with asyncio.timeout(ACKNOWLEDGE_SECONDS):
            await queue.get()
    except TimeoutError:
        raise CallLost(f"node {node}, which held this call, does not answer; its outcome is unknown") from None
