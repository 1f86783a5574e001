"""One client connection: bytes between a transport and hypercorn's protocols."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import ASGIReceiveEvent, ASGISendEvent, ConnectionState, HTTPScope, LifespanState
from starlette.types import ASGIApp

from toolway.bundled.hypercorn.http1 import Http1
from toolway.bundled.hypercorn.http2 import Http2
from toolway.bundled.hypercorn.inbox import Inbox
from toolway.hookspecs.serving import ClientConnection, Limits, Refusal, Silence

log = logging.getLogger("toolway.edge")

_READ = 64 * 1024
_PREFACE = b"PRI * HTTP/2.0\r\n"
_NOWHERE = ("", 0)  # a client that left before it was looked at

Put = Callable[[ASGIReceiveEvent], Awaitable[None]]
Deliver = Callable[[ASGISendEvent | None], Awaitable[None]]


class HypercornRunner:
    """HTTP/1.1 and HTTP/2: in TLS as negotiated, in clear as the client begins (RFC 9113 section 3.3)."""

    name = "hypercorn"
    alpn: tuple[str, ...] = ("h2", "http/1.1")

    def __init__(self) -> None:
        self._config = Config()
        self._config.errorlog = log
        self._config.include_date_header = self._config.include_server_header = False
        self._config.keep_alive_max_requests = 2**63
        logging.getLogger("hpack").setLevel(logging.INFO)  # below, it logs every header with its credentials

    def connection(self, app: ASGIApp, limits: Limits, closed: Callable[[ClientConnection], None]) -> ClientConnection:
        """See `ServerRunner`."""
        return Connection(app, limits, closed, self._config)


class Connection(ClientConnection):
    """Gives hypercorn's protocol what the client sends and the client what it answers."""

    def __init__(
        self, app: ASGIApp, limits: Limits, closed: Callable[[ClientConnection], None], config: Config
    ) -> None:
        self._app: Any = app
        self._limits = limits
        self._closed = closed
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader(_READ)
        self._context = WorkerContext(None)
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._unsent = bytearray()
        self._inboxes: set[Inbox] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_begun = self._is_over = False

    def connection_made(self, transport: Any) -> None:
        """The handshake, if any, is done."""
        self._transport: asyncio.Transport = transport
        transport.set_write_buffer_limits(high=self._limits.write_buffer)
        self._reader.set_transport(transport)
        link = transport.get_extra_info("ssl_object")
        is_http2 = link is not None and link.selected_alpn_protocol() == "h2"
        self._protocol = self._speak(Http2 if is_http2 else Http1)
        self._reading = self._loop.create_task(self._read())

    def _speak(self, protocol: type[Http1] | type[Http2]) -> Http1 | Http2:
        link = self._transport.get_extra_info
        state = ConnectionState(LifespanState({}))
        shared = (self._app, self._config, self._context, self, state, link("ssl_object") is not None)
        client, server = (link("peername") or _NOWHERE)[:2], (link("sockname") or _NOWHERE)[:2]
        return protocol(self._limits, *shared, client, server, self._on_event)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client; what comes after the end is dropped."""
        if not self._is_over:
            self._has_begun = True
            self._reader.feed_data(data)

    def eof_received(self) -> None:
        """A client that has closed its half has left; so the transport closes."""
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing can be read or written any more."""
        self._end()
        self._reading.cancel()
        self._closed(self)

    def pause_writing(self) -> None:
        """The client reads more slowly than the application writes."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._may_write.set()

    async def _read(self) -> None:
        """Feed the protocol until the connection ends."""
        try:
            await self._protocol.initiate()
            while data := await self._reader.read(_READ):
                if data.startswith(_PREFACE) and self._is_fresh:
                    self._protocol = self._speak(Http2)
                    await self._protocol.initiate()
                await self._protocol.handle(RawData(data))
        except OSError as error:
            log.debug("a connection broke: %s", error)
        except Exception:
            log.exception("a connection failed unexpectedly")
            self.abort()
        finally:
            await self._protocol.handle(Closed())

    @property
    def _is_fresh(self) -> bool:
        """Whether the client may still choose HTTP/2."""
        return isinstance(self._protocol, Http1) and self._protocol.waits_for() == ("keep_alive", 0)

    async def spawn_app(self, app: Any, config: Config, scope: HTTPScope, send: Deliver) -> Put:
        """Start the application for a request and say where its messages go (the `TaskGroup` of hypercorn)."""
        inbox = Inbox()
        self._inboxes.add(inbox)
        self.spawn(self._answer, app, scope, inbox, send)
        return inbox.put

    def spawn(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        """Run something beside the reading (the `TaskGroup` of hypercorn)."""
        task = self._loop.create_task(work(*arguments))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            level = logging.DEBUG if isinstance(error, OSError) else logging.ERROR
            log.log(level, "a connection failed: %s", error, exc_info=error)
            self.abort()

    async def _answer(self, app: Any, scope: HTTPScope, inbox: Inbox, send: Deliver) -> None:
        try:
            await app(scope, inbox.get, send)
        finally:
            self._inboxes.discard(inbox)
            if not self._is_over:
                with suppress(OSError):
                    await send(None)

    async def _on_event(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed) or (
            isinstance(event, Updated) and event.idle and self._context.terminated.is_set()
        ):
            self._hang_up()

    async def _write(self, data: bytes) -> None:
        """What one turn of the loop produces, head and body as a rule, goes out in one piece."""
        if not self._is_over:
            self._put(data)
            await self._may_write.wait()
        if self._is_over:
            raise ConnectionResetError("the connection is closed")

    def _put(self, data: bytes) -> None:
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent += data
        if len(self._unsent) > self._limits.write_buffer:
            self._flush()

    def _flush(self) -> None:
        if self._unsent and not self._transport.is_closing():
            self._transport.write(self._unsent)
            self._unsent = bytearray()

    def _hang_up(self) -> None:
        """End after what is already written; the client gets time to read it."""
        if self._is_over:
            return
        self._end()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _end(self) -> None:
        """Nothing more is read, and whoever works for the connection hears of it."""
        self._is_over = True
        self._flush()
        self._may_write.set()
        for inbox in self._inboxes:
            inbox.disconnect()

    def waits_for(self) -> tuple[Silence, int] | None:
        """See `ClientConnection`."""
        if self._is_over:
            return "linger", 0
        return self._protocol.waits_for() if self._has_begun else ("first_byte", 0)

    def finish(self) -> None:
        """See `ClientConnection`."""
        waits_for = self.waits_for()
        if waits_for is not None and waits_for[0] in ("first_byte", "keep_alive"):
            self._hang_up()
        else:
            self.spawn(self._context.terminated.set)

    def refuse(self, refusal: Refusal) -> None:
        """See `ClientConnection`."""
        self._put(refusal.message())
        self._hang_up()

    def abort(self) -> None:
        """See `ClientConnection`."""
        self._end()
        self._transport.abort()
