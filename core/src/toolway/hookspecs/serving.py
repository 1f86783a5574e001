"""What the gateway and an ASGI server agree on: limits of one message, refusals, and the life of a connection."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final, Literal, Protocol

import msgspec
from pydantic import BaseModel, Field, PositiveFloat, PositiveInt

if TYPE_CHECKING:
    from starlette.types import ASGIApp

KIB = 1024
MIB = 1024 * KIB

Bytes = Annotated[int, Field(ge=256)]
HeaderList = list[tuple[bytes, bytes]]

CLOSE: Final = (b"connection", b"close")
NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
WHOLE: Final = "toolway.whole"
"""A key of the ASGI scope, beside what ASGI says: the `Whole` of the request, from a server that has it."""
FIELDS: Final = "toolway.fields"
"""Another one, for applications behind the edge: the header fields, repeated ones joined (RFC 9110 section 5.3).

To read only, and without Content-Length: requests with the same head share them.
"""
KNOWN: Final = "toolway.known"
"""Another one, from a server that met the same head before, but for its Content-Length: what was found out about it.

A dictionary; only what follows from the head alone is kept there, by whoever found it out.
"""


class Limits(BaseModel, extra="forbid", frozen=True):
    """Bounds of one message and of one connection: `[gateway.limits]`."""

    body: Bytes = Field(default=4 * MIB, description="Largest request body, in bytes (413).")
    request_line: Bytes = Field(default=8 * KIB, description="Longest request line and longest URL, in bytes (414).")
    header_field: Bytes = Field(default=8 * KIB, description="Longest single header field, in bytes (431).")
    headers: Bytes = Field(default=16 * KIB, description="All header fields of a request together, in bytes (431).")
    header_count: PositiveInt = Field(default=100, description="Most header fields of a request (431).")
    first_byte: PositiveFloat = Field(default=10.0, description="A new connection silent this long is cut, in seconds.")
    head: PositiveFloat = Field(default=10.0, description="From first byte to end of a request head, in seconds (408).")
    body_total: PositiveFloat = Field(default=30.0, description="For a whole request body, in seconds (408).")
    body_gap: PositiveFloat = Field(default=10.0, description="Between two pieces of a request body, in seconds (408).")
    keep_alive: PositiveFloat = Field(default=75.0, description="Idle time between two requests, in seconds.")
    stalled_write: PositiveFloat = Field(default=30.0, description="Time for a client to read something, in seconds.")
    write_buffer: Bytes = Field(default=MIB, description="Unsent bytes per connection before the sender waits.")
    linger: PositiveFloat = Field(default=2.0, description="Time to read the last answer of a connection, in seconds.")
    connections: PositiveInt = Field(default=10_000, description="Most open connections of a node (503).")
    connections_per_source: PositiveInt = Field(default=256, description="Per address or IPv6 /64 but trusted proxies.")

    @property
    def head_size(self) -> int:
        """Most bytes of a request head, in all."""
        return self.request_line + self.headers


class Refusal(Exception):
    """The request ends here: problem+json (RFC 9457) with a stable code, never exception text; then the connection too.

    `retry_after` is in seconds; `error_id` is what the log has too.
    """

    def __init__(
        self, status: int, code: str, detail: str, *, retry_after: int | None = None, error_id: str | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        problem = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
        problem |= {"code": code} | ({"error_id": error_id} if error_id else {})
        self.body = msgspec.json.encode(problem)
        self.headers: HeaderList = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(self.body)),
            (b"cache-control", b"no-store"),
            CLOSE,
        ]
        if retry_after is not None:
            self.headers.append((b"retry-after", b"%d" % retry_after))

    def message(self) -> bytes:
        """A whole HTTP/1.1 message that closes the connection, for when no request could be read (RFC 9112)."""
        fields = [*self.headers, NOSNIFF, (b"date", formatdate(usegmt=True).encode())]
        head = b"".join(b"%s: %s\r\n" % field for field in fields)
        return b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (self.status, HTTPStatus(self.status).phrase.encode(), head, self.body)


def unreadable(status: int) -> Refusal:
    """The answer to a message that never became a request: 400, 414, 431 or 501."""
    if status == 414:
        return Refusal(414, "url_too_long", "The request line is too long.")
    if status == 431:
        return Refusal(431, "headers_too_large", "The request head is too large.")
    if status == 501:
        return Refusal(501, "bad_framing", "The only transfer coding understood here is chunked.")
    return Refusal(400, "malformed_request", "The message is not well-formed HTTP/1.1.")


class Whole(Protocol):
    """The short way, without `receive` and `send`, of what is all there already."""

    def take(self) -> bytes | None:
        """The body of the request, if all of it has come and nobody received of it; after this none is left."""

    def answer(self, status: int, headers: HeaderList, body: bytes) -> bool:
        """Send a whole answer at once; False if the client has to be waited for, or is gone.

        The server adds the Content-Length; the headers have neither that nor Connection.
        """


Silence = Literal["first_byte", "head", "keep_alive", "linger"]
"""The setting in `[gateway.limits]` that bounds what a connection waits for."""


class ClientConnection(asyncio.Protocol, ABC):
    """One client connection: calls the application for each request that its bytes hold.

    ASGI as usual, and: an open request whose client leaves gets `http.disconnect` at once; `send` raises `OSError` when
    the client is gone; `connection: close` in an answer ends the connection after it, without a reset while the client
    still sends (RFC 9112 section 9.6); an answer that the application leaves unfinished is cut visibly.
    """

    @abstractmethod
    def waits_for(self) -> tuple[Silence, int] | None:
        """What the client has to do next, and a number that changes when it did; None while a request is in flight.

        Asked about once a second; whoever waits too long is ended by the gateway.
        """

    @abstractmethod
    def finish(self) -> None:
        """Close it if it is idle, else after the answer that is in flight."""

    @abstractmethod
    def refuse(self, refusal: Refusal) -> None:
        """Send a refusal in place of an answer and close."""

    @abstractmethod
    def abort(self) -> None:
        """Drop it without another word."""


class ServerRunner(Protocol):
    """An ASGI server without its sockets: it turns the bytes of accepted connections into requests.

    The gateway listens, accepts, counts connections, does the TLS handshake, watches deadlines and drains. `alpn` are
    the protocols to offer in TLS, preferred first (RFC 7301).
    """

    name: str
    alpn: tuple[str, ...]

    def connection(self, app: ASGIApp, limits: Limits, closed: Callable[[ClientConnection], None]) -> ClientConnection:
        """The protocol of a connection that is about to be made; it calls `closed` with itself when it is lost."""
