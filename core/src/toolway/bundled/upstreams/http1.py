"""One HTTP/1.1 connection to an upstream: one exchange at a time, strictly framed, in bounded memory (RFC 9112)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache, partial
from math import inf
from typing import Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from msgspec import Struct

from toolway.hookspecs.structs import Mutable
from toolway.plugin import Heads, UpstreamError, UpstreamProtocol, UpstreamTimeout, outbox

MAX_HEAD = 64 * 1024
"""Most bytes of a head, of trailers, or around a chunk, in which no body is."""

HIGH_WATER = 256 * 1024
"""Bytes of a body that may wait for their reader; reading pauses above."""

WRITTEN_AT_ONCE = 16 * 1024
"""Bodies up to this many bytes are joined to their head."""


Known = tuple[int, str, str, dict[bytes, bytes]]
"""Of a head that came before: `status`, `content_type`, `encoding` and `fields` of an `Answer`."""


class Owner(Protocol):
    """Who made a connection; `heads` came on those that it made."""

    heads: Heads[Known]

    def ended(self, connection: Http1Connection) -> None:
        """An exchange is over; a connection that was not lost before can take the next one."""

    def lost(self, connection: Http1Connection) -> None:
        """The connection is of no further use."""


class Answer(Struct, eq=False, metaclass=Mutable):
    """The response to one request: wait for `head`, then read the body once, from one task.

    `content_type` is the media type in lower case, without parameters; empty when there is none, as `encoding` is.
    """

    connection: Http1Connection | None
    head: asyncio.Future[None]
    status: int = 0
    content_type: str = ""
    encoding: str = ""
    fields: dict[bytes, bytes] = {}
    chunks: list[bytes] = []
    size: int = 0
    error: UpstreamError | None = None
    waiter: asyncio.Future[None] | None = None

    @property
    def is_delimited(self) -> bool:
        """Whether the head tells where the body ends; otherwise the connection does (RFC 9112 section 6.3)."""
        return b"content-length" in self.fields or b"transfer-encoding" in self.fields

    def header(self, name: str) -> str:
        """The first value of a header, named in lower case; empty when there is none."""
        return self.fields.get(name.encode(), b"").decode("latin-1")

    def whole(self, limit: int) -> bytes | None:
        """The whole body of at most `limit` bytes, if it has come already."""
        if self.connection is not None or self.error is not None or self.size > limit:
            return None
        return self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)

    async def read(self, limit: int) -> bytes:
        """The whole body; whatever goes wrong, nothing is left to close.

        Raises:
            UpstreamProtocol: it is larger than `limit` bytes.
            UpstreamError: it broke off.
        """
        chunks, size = [], 0
        try:
            while chunk := await self.chunk():
                size += len(chunk)
                if size > limit:
                    raise UpstreamProtocol(f"the answer is larger than {limit} bytes")
                chunks.append(chunk)
        finally:
            self.close()
        return b"".join(chunks)

    async def chunk(self) -> bytes:
        """What has come of the body, as soon as there is something; empty at its end.

        Raises:
            UpstreamError: it broke off; what came before has been given out.
        """
        while not self.chunks and self.connection is not None:
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter
        if not self.chunks and self.error is not None:
            raise self.error
        return self._taken()

    def close(self) -> None:
        """Give up: unless the exchange was over, its connection is closed, which is what tells the upstream."""
        if self.connection is not None:
            self.connection.abandon(UpstreamError("the answer was given up before its end"))

    def wake(self) -> None:
        """Something has come for who waits, or nothing more will."""
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _taken(self) -> bytes:
        taken = b"".join(self.chunks)
        self.chunks.clear()
        self.size = 0
        if self.connection is not None:
            self.connection.resume()
        return taken


class Http1Connection(asyncio.Protocol):
    """Frames are judged by llhttp in its strict mode; whatever it refuses ends the connection."""

    on_header: Callable[[bytes, bytes], bytes]
    _parser: HttpResponseParser
    transport: asyncio.Transport

    def __init__(self, owner: Owner, who: str, loop: asyncio.AbstractEventLoop) -> None:
        """`who` is what errors call the upstream."""
        self.due = inf  # monotonic seconds; the owner calls `expire` then
        self._owner = owner
        self._loop = loop
        self._who = who
        self._answer: Answer | None = None
        self._fields: dict[bytes, bytes] = {}
        self.on_header = self._fields.setdefault  # called by the parser, for trailers too, which nobody reads
        self._bare = 0  # bytes since the last of a body
        self._is_complete = False
        self._is_paused = False
        self._stays = False
        self._outbox, self._turn = outbox(), -1

    def send(self, head: bytes, body: bytes, due: float) -> Answer:
        """Begin an exchange; the head of the answer is due at that time."""
        self.due = due
        self._bare = 0
        self._is_complete = False
        answer = self._answer = Answer(self, self._loop.create_future())
        if len(body) <= WRITTEN_AT_ONCE:
            self._turn = self._outbox.put(self.transport, head + body)
        else:
            self.transport.write(head)
            self.transport.write(body)
        return answer

    def resume(self) -> None:
        """The reader has caught up."""
        if self._is_paused and not self.transport.is_closing():
            self._is_paused = False
            self.transport.resume_reading()

    def expire(self) -> None:
        """What was due has not come: a head, or another exchange."""
        self.abandon(UpstreamTimeout(f"{self._who} did not answer in time; the outcome is unknown"))

    def abandon(self, error: UpstreamError | None) -> None:
        """Close at once; `error` is for who waits for the answer, None when all of it is there."""
        self.transport.abort()
        self._owner.lost(self)
        self._end(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        self.transport = cast(asyncio.Transport, transport)
        self._parser = HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._turn == self._outbox.turn:
            return self._unasked()
        answer = self._answer
        fresh = None if self._bare or answer is None or answer.status else answer
        if fresh is not None and (found := self._owner.heads.find(data)) is not None:
            return self._repeat(fresh, *found)
        self._bare += len(data)
        try:
            if answer is None:
                raise HttpParserError("an answer without a request")
            self._parser.feed_data(data)
            if self._bare > MAX_HEAD:
                raise HttpParserError("too large a head")
        except (HttpParserError, HttpParserUpgrade):
            self._stays = False
            if not self._is_complete:
                what = f"answered with bad HTTP/1.1, or with a head of more than {MAX_HEAD} bytes"
                self.abandon(UpstreamProtocol(f"{self._who} {what}"))
        if self._is_complete:
            if fresh is not None and self._stays and len(fresh.chunks) == 1:
                self._owner.heads.learn(data, fresh.size, partial(_known, fresh))
            self._complete()

    def _repeat(self, answer: Answer, known: Known, length: bytes, body: bytes) -> None:
        """An answer with a head that came before."""
        answer.status, answer.content_type, answer.encoding, fields = known
        answer.fields = {**fields, b"content-length": length}
        answer.chunks, answer.size = [body], len(body)
        self._is_complete = self._stays = True
        if not answer.head.done():
            answer.head.set_result(None)
        self._complete()

    def _complete(self) -> None:
        """All of the answer is there."""
        is_written = not self.transport.get_write_buffer_size()
        if self._stays and is_written and not self.transport.is_closing():
            if self._is_paused:
                self.resume()
            self._end(None)
        else:  # its request is not written yet, or it has more to say
            self.abandon(None)

    def _unasked(self) -> None:
        """The request waits still in the outbox: this is no answer to it, and it can go elsewhere."""
        self.abandon(UpstreamError(f"{self._who} spoke or left before it was asked", sent=False))

    def eof_received(self) -> None:
        """The end of a body without length, or of the connection."""
        answer = self._answer
        if self._turn == self._outbox.turn:
            self._unasked()
        elif answer is not None and answer.status and not answer.is_delimited:
            self.abandon(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`; what was sent may have arrived, however early the connection broke."""
        del self._parser  # it refers to this object: together they would wait for the collector
        if self._turn == self._outbox.turn:
            return self._unasked()
        self.abandon(UpstreamError(f"the connection to {self._who} broke; the outcome is unknown"))

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Of an interim answer, the answer, or more than was asked for."""
        if self._is_complete:
            raise HttpParserError("surplus bytes")
        self._fields.clear()

    def on_headers_complete(self) -> None:
        """A head is complete; interim ones are skipped (RFC 9110 section 15.2)."""
        names, values = map(bytes.lower, reversed(self._fields)), reversed(self._fields.values())
        fields = dict(zip(names, values, strict=True))  # the first of a name counts
        status, answer, coding = self._parser.get_status_code(), self._answer, fields.get(b"transfer-encoding")
        if status < 100 or status == 101 or (coding is not None and coding.lower() != b"chunked"):
            raise HttpParserError("a status or coding that nobody asked for")
        if self._bare > MAX_HEAD and sum(map(len, (*fields, *fields.values()))) > MAX_HEAD:
            raise HttpParserError("too large a head")
        if status >= 200 and answer is not None:
            self.due = inf
            answer.status, answer.fields = status, fields
            answer.content_type = _media_type(fields.get(b"content-type", b""))
            if b"content-encoding" in fields:
                answer.encoding = fields[b"content-encoding"].decode("latin-1")
            if not answer.head.done():
                answer.head.set_result(None)

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self._bare = 0
        answer = self._answer
        if answer is not None:
            if not answer.status:
                raise HttpParserError("an interim answer with a body")
            answer.chunks.append(data)
            answer.size += len(data)
            if answer.waiter is not None:
                answer.wake()
            if answer.size > HIGH_WATER:
                self._is_paused = True
                self.transport.pause_reading()

    def on_message_complete(self) -> None:
        """The end of an interim answer, or of the answer."""
        self._is_complete = self._answer is not None and self._answer.status > 0
        self._stays = self._parser.should_keep_alive()

    def _end(self, error: UpstreamError | None) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.connection, answer.error = None, error
            if error is not None and not answer.head.done():
                answer.head.set_exception(error)
            if answer.waiter is not None:
                answer.wake()
            self._owner.ended(self)


def _known(answer: Answer) -> Known:
    return answer.status, answer.content_type, answer.encoding, {**answer.fields}


@lru_cache(maxsize=256)
def _media_type(value: bytes) -> str:
    return value.partition(b";")[0].strip().decode("latin-1").lower()
