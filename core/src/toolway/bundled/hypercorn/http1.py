"""hypercorn's HTTP/1.1 with a strict reading of request heads (RFC 9112) and without upgrades.

h11 alone joins folded lines, takes a bare LF for a line end and merges equal Content-Length fields: what a proxy in
front may read differently is refused here, before a request exists.
"""

from __future__ import annotations

import re
from typing import Any

import h11
from hypercorn.events import RawData
from hypercorn.protocol.events import Request
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream

from toolway.hookspecs.serving import Limits, Silence, unreadable

_BLANK_LINE = re.compile(rb"\n\r?\n")
_LINE_TROUBLE = re.compile(rb"(?<!\r)\n|\r(?!\n)|\r\n[ \t]|\x00")
_FRAMING = re.compile(rb"\n(?:content-length|transfer-encoding)[ \t]*:", re.IGNORECASE)


class StrictConnection(h11.Connection):
    """An `h11.Connection` that looks at the bytes of each request head before h11 does."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=limits.head_size)

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Raises `h11.RemoteProtocolError` with the status to answer."""
        data = self.unread_head
        end = _BLANK_LINE.search(data)
        head = data[: end.end()] if end else b""
        if _LINE_TROUBLE.search(head) or len(_FRAMING.findall(head)) > 1:
            raise h11.RemoteProtocolError("a head that RFC 9112 forbids")
        try:
            return super().next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == 431 and b"\n" not in data:
                raise h11.RemoteProtocolError("request line too long", error_status_hint=414) from error
            raise

    @property
    def unread_head(self) -> bytes:
        """What is here of the next request, while its head is not complete."""
        return self.trailing_data[0] if self.their_state is h11.IDLE else b""


class Http1(H11Protocol):
    """An `H11Protocol` that answers errors as problem+json and takes every request for plain HTTP.

    Upgrades are ignored, as RFC 9110 section 7.8 allows: neither WebSocket nor h2c is upgraded to.
    """

    def __init__(self, limits: Limits, *parts: Any) -> None:
        super().__init__(*parts)
        self.connection: StrictConnection = StrictConnection(limits)

    def waits_for(self) -> tuple[Silence, int] | None:
        """See `ClientConnection`."""
        if self.stream is not None:
            return None
        return "head" if self.connection.unread_head else "keep_alive", self.keep_alive_requests

    async def _check_protocol(self, event: h11.Request) -> None:
        """Nothing: no upgrade is looked for."""

    async def _create_stream(self, request: h11.Request) -> None:
        self.keep_alive_requests += 1
        link = (self.app, self.config, self.context, self.task_group, self.ssl, self.client, self.server)
        self.stream = HTTPStream(*link, self.stream_send, STREAM_ID)
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode("ascii"),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )

    async def _send_error_response(self, status_code: int) -> None:
        await self.send(RawData(unreadable(status_code).message()))
