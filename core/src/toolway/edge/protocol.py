"""hypercorn's HTTP/1.1 protocol with a strict reading of request heads (RFC 9112) and no upgrades.

h11 alone joins folded lines, takes a bare LF for a line end and merges equal Content-Length fields: what a proxy in
front may read differently is refused here, before a request exists.
"""

from __future__ import annotations

import re
from typing import Any, cast

import h11
from hypercorn.config import Config
from hypercorn.events import RawData
from hypercorn.protocol.events import Request
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream

from toolway.edge.problem import raw_response
from toolway.edge.settings import Limits

_LINE_TROUBLE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\r\n[ \t]|\x00")
_FRAMING = re.compile(rb"\n(?:content-length|transfer-encoding)[ \t]*:", re.IGNORECASE)
_CODES = {
    408: ("head_too_slow", "The request head did not arrive in time."),
    414: ("url_too_long", "The request line is too long."),
    431: ("headers_too_large", "The request head is too large."),
    501: ("bad_framing", "The only transfer coding understood here is chunked."),
}
_MALFORMED = ("malformed_request", "The message is not well-formed HTTP/1.1.")


def refusal_of(status: int) -> bytes:
    """The complete answer to a message that never became a request."""
    return raw_response(status, *_CODES.get(status, _MALFORMED))


class StrictConnection(h11.Connection):
    """An `h11.Connection` that looks at the bytes of each request head before h11 does."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._looked_at = 0
        self.is_over = False
        super().__init__(h11.SERVER, max_incomplete_event_size=limits.request_line + limits.headers)

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Raises `h11.RemoteProtocolError` with the status to answer."""
        if self.is_over:
            return h11.NEED_DATA
        if self.their_state is h11.IDLE:
            self._check_head(self.trailing_data[0])
        return super().next_event()

    @property
    def has_begun(self) -> bool:
        """Whether a part of the next request is already here."""
        return bool(self.trailing_data[0])

    def _check_head(self, data: bytes) -> None:
        end = data.find(b"\r\n\r\n")
        head = data if end < 0 else data[: end + 2]
        if _LINE_TROUBLE.search(head, max(0, self._looked_at - 3)):
            raise h11.RemoteProtocolError("a line that ends or continues in a way RFC 9112 forbids")
        self._looked_at = len(head) if end < 0 else 0
        line, _, fields = head.partition(b"\r\n")
        if len(line) > self._limits.request_line:
            raise h11.RemoteProtocolError("request line too long", error_status_hint=414)
        if len(fields) > self._limits.headers or fields.count(b"\n") > self._limits.header_count:
            raise h11.RemoteProtocolError("head too large", error_status_hint=431)
        if end >= 0 and len(_FRAMING.findall(head)) > 1:
            raise h11.RemoteProtocolError("more than one field says where the body ends")


class StrictProtocol(H11Protocol):
    """An `H11Protocol` that answers errors as problem+json and takes every request for plain HTTP.

    Upgrades are ignored, as RFC 9110 section 7.8 allows: neither WebSocket nor h2c is served.
    """

    def __init__(self, limits: Limits, config: Config, *parts: Any) -> None:
        super().__init__(parts[0], config, *parts[1:])
        self.connection = StrictConnection(limits)

    @property
    def has_begun(self) -> bool:
        """Whether a part of the next request is already here."""
        return cast(StrictConnection, self.connection).has_begun

    @property
    def has_unread(self) -> bool:
        """Whether the client may still be sending a body that nobody reads."""
        return self.connection.their_state in (h11.SEND_BODY, h11.ERROR)

    def end(self) -> None:
        """No further request of this connection is read."""
        cast(StrictConnection, self.connection).is_over = True

    async def let_go(self) -> None:
        """Wake a reader that waits for its turn with a pipelined request; hypercorn would leave it waiting."""
        self.end()
        await self.can_read.set()

    async def _check_protocol(self, event: h11.Request) -> None:
        """Nothing: no upgrade is looked for."""

    async def _create_stream(self, request: h11.Request) -> None:
        self.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
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
        await self.send(RawData(refusal_of(status_code)))
