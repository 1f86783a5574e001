"""One client connection: bytes between the socket and hypercorn's protocol, with a deadline for every silence."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import ASGIReceiveEvent, ASGISendEvent, ConnectionState, HTTPScope, LifespanState
from hypercorn.utils import parse_socket_addr
from starlette.types import ASGIApp

from toolway.edge.inbox import Inbox
from toolway.edge.protocol import StrictProtocol, refusal_of
from toolway.edge.settings import Limits
from toolway.edge.tls import tls_extension

if sys.platform == "linux":
    import fcntl
    import termios

log = logging.getLogger("toolway.edge")

_READ = 64 * 1024
_NOWHERE = ("", 0)  # a client that left before it was looked at

Put = Callable[[ASGIReceiveEvent], Awaitable[None]]
Deliver = Callable[[ASGISendEvent | None], Awaitable[None]]


@dataclass(frozen=True)
class Line:
    """What all connections of a node share."""

    app: ASGIApp
    limits: Limits
    config: Config
    context: WorkerContext


def unsent(transport: asyncio.WriteTransport) -> int:
    """Bytes that the other side has not taken yet, those in the kernel's send buffer included (Linux)."""
    waiting = transport.get_write_buffer_size()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, ValueError):
            descriptor = transport.get_extra_info("socket").fileno()
            waiting += struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))[0]
    return waiting


class WatchedReader(asyncio.StreamReader):
    """A reader that tells at once that the other side has ended, even while nobody reads."""

    on_eof: Callable[[], None] = staticmethod(lambda: None)

    def feed_eof(self) -> None:
        """The other side has closed its half."""
        super().feed_eof()
        self.on_eof()

    def set_exception(self, exc: Exception) -> None:
        """The connection is lost."""
        super().set_exception(exc)
        self.on_eof()


class Connection:
    """Serves requests one after another until either side ends it."""

    def __init__(self, line: Line, reader: WatchedReader, writer: asyncio.StreamWriter) -> None:
        self._line = line
        self._limits = line.limits
        self._reader = reader
        self._writer = writer
        self._transport = writer.transport
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._call: asyncio.Task[None] | None = None
        self._inbox: Inbox | None = None
        self._tls = tls_extension(writer)
        self._protocol = self._new_protocol()
        self._pending: list[bytes] = []
        self._pending_size = 0
        self.is_idle = True
        self._closing = False
        reader.on_eof = self._on_eof

    async def run(self) -> None:
        """Returns when the connection is closed and no application works for it any more."""
        self._transport.set_write_buffer_limits(high=self._limits.write_buffer)
        self._arm(self._limits.first_byte, self.hang_up)
        try:
            await self._read()
            if self._call is not None:
                await asyncio.wait({self._call})
        except OSError as error:
            log.debug("a connection broke: %s", error)
        finally:
            self._disarm()
            await self._close()

    def _new_protocol(self) -> StrictProtocol:
        family = self._writer.get_extra_info("socket").family
        return StrictProtocol(
            self._limits,
            self._line.config,
            self._call_app,
            self._line.context,
            self,
            ConnectionState(LifespanState({})),
            self._tls is not None,
            parse_socket_addr(family, self._writer.get_extra_info("peername") or _NOWHERE),
            parse_socket_addr(family, self._writer.get_extra_info("sockname") or _NOWHERE),
            self._on_event,
        )

    async def _read(self) -> None:
        while data := await self._next_bytes():
            if self._closing:
                continue
            if self.is_idle:
                self.is_idle = False
                self._arm(self._limits.head, self._refuse_slow_head)
            await self._protocol.handle(RawData(data))
        await self._protocol.handle(Closed())

    async def _next_bytes(self) -> bytes:
        try:
            return await self._reader.read(_READ)
        except OSError:
            return b""

    def _on_eof(self) -> None:
        """While a pipelined request waits, nobody reads; the application must still hear that the client left."""
        if self._inbox is not None and self._inbox.is_complete:
            self._inbox.disconnect()

    async def spawn_app(self, app: Any, config: Config, scope: HTTPScope, send: Deliver) -> Put:
        """Start the application for a request and say where its messages go (the `TaskGroup` of hypercorn)."""
        self._inbox = inbox = Inbox()
        if self._tls is not None:
            scope["extensions"]["tls"] = self._tls
        self._call = self._loop.create_task(self._answer(app, scope, inbox, send))
        return inbox.put

    async def _call_app(self, scope: Any, receive: Any, send: Any, *_: Any) -> None:
        await self._line.app(scope, receive, send)

    async def _answer(self, app: Any, scope: HTTPScope, inbox: Inbox, send: Deliver) -> None:
        try:
            await app(scope, inbox.get, send)
        except Exception:
            log.exception("an application let an exception through to the server")
        finally:
            if not self._is_over:
                with contextlib.suppress(OSError):
                    await send(None)
            if self._is_over:
                await self._protocol.let_go()

    @property
    def _is_over(self) -> bool:
        return self._closing or self._transport.is_closing()

    async def _on_event(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            self.hang_up(linger=self._protocol.has_unread)
        elif isinstance(event, Updated):
            self._become_idle() if event.idle else self._become_busy()

    def _become_busy(self) -> None:
        self.is_idle = False
        self._disarm()

    def _become_idle(self) -> None:
        self._inbox = None
        if self._protocol.has_begun:
            self._arm(self._limits.head, self._refuse_slow_head)
        else:
            self.is_idle = True
            self._arm(self._limits.keep_alive, self.hang_up)

    async def _write(self, data: bytes) -> None:
        """Raises `ConnectionResetError` if the client is gone or has read nothing for `stalled_write` seconds."""
        if self._is_over:
            raise ConnectionResetError("the connection is closed")
        self._put(data)
        if self._pending_size + self._transport.get_write_buffer_size() <= self._limits.write_buffer:
            return
        self._flush()
        if not await self._progress(self._writer.drain()):
            self._transport.abort()
            await self._protocol.handle(Closed())
            raise ConnectionResetError("the client reads nothing")

    def _put(self, data: bytes) -> None:
        """What one turn of the loop produces, head and body as a rule, goes out in one piece."""
        if data:
            if not self._pending:
                self._loop.call_soon(self._flush)
            self._pending.append(data)
            self._pending_size += len(data)

    def _flush(self) -> None:
        if self._pending:
            self._writer.write(b"".join(self._pending))
            self._pending.clear()
            self._pending_size = 0

    async def _progress(self, waiting: Coroutine[Any, Any, None]) -> bool:
        """Wait as long as the client reads at all; False if it stops reading or the connection is lost."""
        task = self._loop.create_task(waiting)
        try:
            while not task.done():
                before = unsent(self._transport)
                await asyncio.wait({task}, timeout=self._limits.stalled_write)
                if not task.done() and unsent(self._transport) >= before:
                    return False
            return task.exception() is None
        finally:
            task.cancel()

    def hang_up(self, *, linger: bool = False) -> None:
        """End the connection after what is already written; with `linger` the client gets time to read it first.

        Closing while the client still sends would reset the connection and take the answer with it (RFC 9112
        section 9.6).
        """
        if self._closing:
            return
        self._closing = True
        self._protocol.end()
        self._flush()
        self._disarm()
        if not linger:
            self._writer.close()
            return
        if self._writer.can_write_eof():
            self._writer.write_eof()
        self._arm(self._limits.linger, self._writer.close)

    def _refuse_slow_head(self) -> None:
        self._put(refusal_of(408))
        self.hang_up(linger=True)

    def abort(self) -> None:
        """Drop the connection without another word."""
        self._closing = True
        self._transport.abort()

    async def _close(self) -> None:
        self._flush()
        self._writer.close()
        if not await self._progress(self._writer.wait_closed()):
            self._transport.abort()

    def _arm(self, seconds: float, action: Callable[[], None]) -> None:
        self._disarm()
        self._timer = self._loop.call_later(seconds, action)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
