"""One client connection: HTTP/1.1 (h11) between a socket and the application, with a deadline for every silence."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from email.utils import formatdate
from typing import Final
from urllib.parse import unquote

import anyio
import h11
from starlette.types import Message, Scope

from toolway.edge.edge import Edge
from toolway.edge.framing import read_head
from toolway.edge.problem import CLOSE, Refusal

log = logging.getLogger("toolway.edge")

_READ = 64 * 1024
_GONE: Final[Message] = {"type": "http.disconnect"}

Address = tuple[str, int]


class Reader(asyncio.StreamReader):
    """A reader that tells at once when nothing more comes for the current request, even while nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.over = asyncio.Event()

    def feed_eof(self) -> None:
        """The other side has closed its half."""
        super().feed_eof()
        self.over.set()

    def set_exception(self, exc: Exception) -> None:
        """The connection is lost, which is an end like any other."""
        self.feed_eof()


class Connection:
    """Serves requests one after another until either side ends it."""

    def __init__(self, edge: Edge, client: Address, reader: Reader, writer: asyncio.StreamWriter) -> None:
        self._edge = edge
        self._limits = limits = edge.settings.limits
        self._client = client
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.request_line + limits.headers)
        self._is_idle = self._is_head = False
        writer.transport.set_write_buffer_limits(high=limits.write_buffer)

    async def run(self) -> None:
        """Returns when the connection is closed and no application works for it any more."""
        silence = self._limits.first_byte
        try:
            while await self._begins(silence):
                await asyncio.create_task(self._serve(await self._next_request()))
                if not await self._is_reusable():
                    break
                self._http.start_next_cycle()
                silence = self._limits.keep_alive
        except Refusal as refusal:
            self._writer.write(refusal.message())
        except (OSError, h11.RemoteProtocolError) as error:  # time-outs are among them
            log.debug("a connection broke: %s", error)
        finally:
            await self._close()

    async def _begins(self, silence: float) -> bool:
        """Whether a part of the next request is here, at once or within so many seconds."""
        if self._http.trailing_data[0]:
            return True
        self._is_idle = True
        async with asyncio.timeout(silence):
            begins = await self._read()
        self._is_idle = False
        return begins

    async def _read(self) -> bool:
        """Hand the next bytes to h11; False if there are none any more."""
        data = await self._reader.read(_READ)
        if data:
            self._http.receive_data(data)
        return bool(data)

    async def _next_request(self) -> h11.Request:
        """Raises `Refusal` if it does not come in time or is malformed, `ConnectionError` if the client leaves."""
        try:
            async with asyncio.timeout(self._limits.head):
                while (request := read_head(self._http)) is None:
                    if not await self._read():
                        raise ConnectionAbortedError("the client left in the middle of a request head")
                return request
        except TimeoutError:
            raise Refusal(408, "head_too_slow", "The request head did not arrive in time.") from None

    async def _serve(self, request: h11.Request) -> None:
        self._is_head = request.method == b"HEAD"
        if not self._reader.at_eof():
            self._reader.over.clear()
        await self._edge(self._scope(request), self._receive, self._send)

    def _scope(self, request: h11.Request) -> Scope:
        path, _, query = request.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.http_version.decode("ascii"),
            "method": request.method.decode("ascii"),
            "scheme": "https" if self._writer.get_extra_info("sslcontext") else "http",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "headers": list(request.headers),
            "client": self._client,
            "server": self._writer.get_extra_info("sockname")[:2],
        }

    async def _receive(self) -> Message:
        """ASGI `receive`; raises `h11.RemoteProtocolError` if the body is malformed."""
        while self._http.their_state is h11.SEND_BODY:
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                return {"type": "http.request", "body": bytes(event.data), "more_body": True}
            if isinstance(event, h11.EndOfMessage):
                return {"type": "http.request", "body": b"", "more_body": False}
            if self._http.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            if not await self._read():
                return _GONE
        await self._reader.over.wait()
        return _GONE

    async def _send(self, message: Message) -> None:
        """ASGI `send`; raises `OSError` if the client is gone or reads nothing."""
        if message["type"] == "http.response.start":
            headers = [*message["headers"], (b"date", formatdate(usegmt=True).encode())]
            if self._edge.draining:
                headers.append(CLOSE)
            return await self._write(h11.Response(status_code=message["status"], headers=headers))
        body = h11.Data(data=b"" if self._is_head else message.get("body", b""))
        if message.get("more_body", False):
            return await self._write(body)
        self._reader.over.set()
        await self._write(body, h11.EndOfMessage())

    async def _write(self, *events: h11.Event) -> None:
        if self._writer.is_closing():
            raise ConnectionResetError("the connection is closed")
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))
        await self._writer.drain()

    async def _is_reusable(self) -> bool:
        """Whether both messages are complete; what the application left of the body is skipped for that."""
        if self._edge.draining or self._writer.is_closing() or self._http.our_state is not h11.DONE:
            return False
        async with asyncio.timeout(self._limits.linger):
            while self._http.their_state is h11.SEND_BODY and not self._reader.at_eof():
                await self._receive()
        return self._http.their_state is h11.DONE

    def end(self) -> None:
        """Without a request in flight the connection ends now."""
        if self._is_idle:
            self._writer.close()

    def abort(self) -> None:
        """Drop the connection without another word."""
        self._writer.transport.abort()

    async def _close(self) -> None:
        """Say that nothing more comes and read until the client ends too, for `linger` seconds at most.

        Closing while it still sends would reset the connection and take the answer with it (RFC 9112 section 9.6). TLS
        does this by itself.
        """
        with contextlib.suppress(OSError), anyio.move_on_after(self._limits.linger):
            if self._writer.can_write_eof() and not self._writer.is_closing():
                self._writer.write_eof()
                while await self._reader.read(_READ):
                    pass
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
