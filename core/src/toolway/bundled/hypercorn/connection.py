"""One client connection: reading, writing and ending, and whose turn it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from hypercorn.config import Config

from toolway.bundled.hypercorn.http1 import Exchange, Known, read_request, repeated_request
from toolway.bundled.hypercorn.http2 import Http2
from toolway.hookspecs.serving import ClientConnection, Limits, Refusal, Silence
from toolway.plugin import Heads, outbox

_PREFACE = b"PRI * HTTP/2.0\r\n"
_NOWHERE = ("", 0)  # a client that left before it was looked at


class HypercornRunner:
    """HTTP/1.1 and HTTP/2: in TLS as negotiated, in clear as the client begins (RFC 9113 section 3.3)."""

    name = "hypercorn"
    alpn: tuple[str, ...] = ("h2", "http/1.1")

    def __init__(self) -> None:
        plain = {"include_date_header": False, "include_server_header": False, "keep_alive_max_requests": 2**63}
        self._config = Config.from_mapping(plain, errorlog=logging.getLogger("toolway.edge"))
        logging.getLogger("hpack").setLevel(logging.INFO)  # below, it logs every header with its credentials

    def connection(self, app: Any, limits: Limits, closed: Callable[[ClientConnection], None]) -> ClientConnection:
        """See `ServerRunner`."""
        return Connection(app, limits, closed, self._config)


class Connection(ClientConnection):
    """Gives what the client sends to who has the turn: HTTP/2 always, in HTTP/1.1 the request in flight, if any."""

    is_over = _has_begun = False
    _requests, _unread = 0, b""
    _turn: Exchange | Http2 | None = None

    def __init__(self, app: Any, limits: Limits, closed: Callable[[ClientConnection], None], config: Config) -> None:
        self.app, self.limits, self.config, self._closed = app, limits, config, closed
        self._loop = asyncio.get_running_loop()
        self._unsent, self._may_write = bytearray(), asyncio.Event()
        self._may_write.set()
        self.heads: Heads[Known] = Heads()
        self.outbox = outbox()

    def connection_made(self, transport: Any) -> None:
        """The handshake, if any, is done."""
        self.transport: asyncio.Transport = transport
        transport.set_write_buffer_limits(high=self.limits.write_buffer)
        link = transport.get_extra_info("ssl_object")
        asgi = {"version": "3.0", "spec_version": "2.1"}
        self.scope: dict[str, Any] = {"type": "http", "asgi": asgi, "root_path": ""}
        client, server = (transport.get_extra_info(end) or _NOWHERE for end in ("peername", "sockname"))
        self.scope |= {"scheme": "https" if link else "http", "client": client[:2], "server": server[:2]}
        if link and link.selected_alpn_protocol() == "h2":
            self._turn = Http2(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client; what comes after the end is dropped."""
        if self.is_over:
            return None
        if not self._has_begun and self._turn is None and data.startswith(_PREFACE):
            self._turn = Http2(self)
        self._has_begun = True
        try:
            if self._turn is not None:
                return self._turn.feed(data)
            exchange = None if self._unread else repeated_request(self, data)
            if exchange is None:
                self._unread += data
                exchange = read_request(self, self._unread)
        except Refusal as refusal:
            return self.refuse(refusal)
        if exchange is not None:
            self._requests += 1
            self._unread, self._turn = b"", exchange
            self._task = self._loop.create_task(exchange.run(self.app))  # nothing else keeps it from being collected

    def answered(self, ahead: bytes, may_follow: bool) -> None:
        """A request in HTTP/1.1 has its whole answer: the next one, if it is here already and may follow."""
        self._turn = None
        if not may_follow:
            self.hang_up()
        elif ahead:
            self.data_received(ahead)

    def eof_received(self) -> None:
        """A client that has closed its half has left; so the transport closes."""
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing can be read or written any more."""
        self._end()
        self._closed(self)

    def pause_writing(self) -> None:
        """The client reads more slowly than the application writes."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._may_write.set()

    def put(self, data: bytes) -> None:
        """What one turn of the loop produces, head and first event as a rule, goes out in one piece."""
        if not self._unsent:
            self._loop.call_soon(self.write, b"")
        self._unsent += data
        if len(self._unsent) > self.limits.write_buffer:
            self.write(b"")

    def write(self, data: bytes) -> None:
        """Send what is known to be a whole answer, after what waits."""
        if self._unsent:
            data, self._unsent = bytes(self._unsent + data), bytearray()
        if self.transport.is_closing():
            self._end()
        elif data:
            self.outbox.put(self.transport, data)

    async def drained(self) -> None:
        """Wait until the client has read enough; raises `ConnectionResetError` if it is gone."""
        await self._may_write.wait()
        if self.is_over:
            raise ConnectionResetError("the connection is closed")

    def hang_up(self) -> None:
        """End after what is already written; the client gets time to read it."""
        if self.is_over:
            return
        self._end()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _end(self) -> None:
        """Nothing more is read, and whoever works for the connection hears of it."""
        if not self.is_over:
            self.is_over = True
            self.write(b"")
            self.outbox.send()
            self._may_write.set()
            self.transport.resume_reading()
            if self._turn is not None:
                self._turn.close()
                self._turn = None

    def waits_for(self) -> tuple[Silence, int] | None:
        """See `ClientConnection`."""
        if self.is_over or not self._has_begun:
            return "linger" if self.is_over else "first_byte", 0
        if self._turn is not None:
            return self._turn.waits_for()
        return "head" if self._unread else "keep_alive", self._requests

    def finish(self) -> None:
        """See `ClientConnection`."""
        if self._turn is not None:
            self._turn.finish()
        elif (self.waits_for() or [None])[0] in ("first_byte", "keep_alive"):
            self.hang_up()

    def refuse(self, refusal: Refusal) -> None:
        """See `ClientConnection`."""
        if not (isinstance(self._turn, Exchange) and self._turn.answer is not None):
            self.put(refusal.message())
        self.hang_up()

    def abort(self) -> None:
        """See `ClientConnection`."""
        self._end()
        self.transport.abort()
