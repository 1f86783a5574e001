"""Server-sent events (WHATWG HTML, section 9.2): an incremental parser and an encoder."""

from __future__ import annotations

import re

import msgspec

from toolway.errors import UpstreamProtocol

MAX_EVENT = 64 * 1024 * 1024
"""Largest event that is taken, in bytes."""

_BOM = b"\xef\xbb\xbf"
_RETRY_DIGITS = 9
_PLAIN = re.compile(rb"(?:event: message\n|id: ([^\0\n]*)\n)*data: ")


class EventTooLarge(UpstreamProtocol):
    """An event of a stream is larger than its reader accepts."""

    code = "event_too_large"


class Event(msgspec.Struct, frozen=True):
    """One event. `id` is None where the event set none; `retry` is milliseconds."""

    data: bytes
    event: str = "message"
    id: str | None = None
    retry: int | None = None


class SseParser:
    """Feed it chunks as they come; it keeps what is incomplete, and takes time linear in what it is fed."""

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        """`max_event` bounds one event, in bytes, complete or not."""
        self._max_event = max_event
        self._partial = bytearray()
        self._is_first = True
        self._after_return = False
        self._reset()

    def _reset(self) -> None:
        self._data: list[bytes] = []
        self._event = "message"
        self._id: str | None = None
        self._retry: int | None = None
        self._size = 0
        self._is_between = True

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that this chunk completed, also those without data that carry an id or retry.

        Raises:
            EventTooLarge: an event is larger than allowed; the stream is of no further use.
        """
        events: list[Event] = []
        *ends, rest = self._after_plain(self._line_feeds_only(chunk), events).split(b"\n")
        for end in ends:
            line, self._partial = bytes(self._partial + end), bytearray()
            line, self._is_first = line.removeprefix(_BOM) if self._is_first else line, False
            if line:
                self._field(*line.split(b":", 1))
            else:
                events += self._end()
        self._partial += rest
        self._check(len(self._partial))
        return events

    def _after_plain(self, text: bytes, events: list[Event]) -> bytes:
        """What is left after events of one line of data, as most are, where no other one has begun."""
        if not self._is_between or self._partial:
            return text
        place, bound = 0, self._max_event
        while (begun := _PLAIN.match(text, place)) is not None:
            start = begun.end()
            end = text.find(b"\n", start)
            if not 0 <= end - start <= bound or not text.startswith(b"\n", end + 1):
                break
            name = begun[1]
            events.append(Event(text[start:end], id=None if name is None else name.decode(errors="replace")))
            place = end + 2
        self._is_first = self._is_first and not place
        return text[place:]

    def _line_feeds_only(self, chunk: bytes) -> bytes:
        """The chunk with LF for CR and CRLF, also when a CRLF is cut in two."""
        if not chunk:
            return b""
        rest = chunk.removeprefix(b"\n") if self._after_return else chunk
        self._after_return = chunk.endswith(b"\r")
        return rest.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in rest else rest

    def _field(self, name: bytes, value: bytes = b"") -> None:
        self._is_between, value = False, value.removeprefix(b" ")
        if name == b"data":
            self._size += len(value) + 1
            self._check(0)
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode(errors="replace") or "message"
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode(errors="replace")
        elif name == b"retry" and value.isdigit() and len(value) <= _RETRY_DIGITS:
            self._retry = int(value)

    def _check(self, pending: int) -> None:
        if self._size + pending > self._max_event + len(b"data: \n"):
            raise EventTooLarge(f"an event of the stream is larger than {self._max_event} bytes")

    def _end(self) -> list[Event]:
        event = Event(b"\n".join(self._data), self._event, self._id, self._retry)
        is_empty = not self._data and self._id is None and self._retry is None
        self._reset()
        return [] if is_empty else [event]


def encode_event(
    data: bytes,
    *,
    id: str | None = None,  # noqa: A002 - the field's name
    event: str | None = None,
    retry: int | None = None,
) -> bytes:
    """One event; line breaks in `data` become several data lines.

    Raises:
        ValueError: a line break in `id` or `event` would begin another field.
    """
    head = f"event: {event}\n" if event is not None else ""
    if id is not None:
        head += f"id: {id}\n"
    if "\r" in head or head.count("\n") != (event is not None) + (id is not None):
        raise ValueError("id and event must be one line")
    if retry is not None:
        head += f"retry: {retry}\n"
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    return b"%bdata: %b\n\n" % (head.encode(), data)
