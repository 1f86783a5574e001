"""Server-sent events (WHATWG HTML, section 9.2): an incremental parser and an encoder."""

from __future__ import annotations

import msgspec

from toolway.errors import UpstreamProtocol

MAX_EVENT = 64 * 1024 * 1024
"""Largest event that is taken, in bytes."""

_BOM = b"\xef\xbb\xbf"
_RETRY_DIGITS = 9


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
        self._begun = False
        self._after_return = False
        self._data: list[bytes] = []
        self._event = ""
        self._id: str | None = None
        self._retry: int | None = None
        self._size = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that this chunk completed, also those without data that carry an id or retry.

        Raises:
            EventTooLarge: an event is larger than allowed; the stream is of no further use.
        """
        lines = self._line_feeds_only(chunk).split(b"\n")
        events = []
        for end in lines[:-1]:
            line, self._partial = bytes(self._partial + end), bytearray()
            if (event := self._take(line)) is not None:
                events.append(event)
        self._partial += lines[-1]
        self._check(len(self._partial))
        return events

    def _line_feeds_only(self, chunk: bytes) -> bytes:
        """The chunk without byte order mark; CR and CRLF are LF, also when a CRLF is cut in two."""
        if not self._begun:
            chunk = self._without_mark(chunk)
        if not chunk:
            return b""
        if self._after_return and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._after_return = chunk.endswith(b"\r")
        if b"\r" in chunk:
            return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return chunk

    def _without_mark(self, chunk: bytes) -> bytes:
        chunk = bytes(self._partial) + chunk
        if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
            self._partial = bytearray(chunk)
            return b""
        self._partial, self._begun = bytearray(), True
        return chunk.removeprefix(_BOM)

    def _take(self, line: bytes) -> Event | None:
        if not line:
            return self._end()
        name, _, value = line.partition(b":")
        self._field(name, value.removeprefix(b" "))
        return None

    def _field(self, name: bytes, value: bytes) -> None:
        if name == b"data":
            self._size += len(value) + 1
            self._check(0)
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode(errors="replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode(errors="replace")
        elif name == b"retry" and value.isdigit() and len(value) <= _RETRY_DIGITS:
            self._retry = int(value)

    def _check(self, pending: int) -> None:
        if self._size + pending > self._max_event + len(b"data: \n"):
            raise EventTooLarge(f"an event of the stream is larger than {self._max_event} bytes")

    def _end(self) -> Event | None:
        event = Event(b"\n".join(self._data), self._event or "message", self._id, self._retry)
        empty = not self._data and self._id is None and self._retry is None
        self._reset()
        return None if empty else event

    def _reset(self) -> None:
        self._data, self._event, self._id, self._retry, self._size = [], "", None, None, 0


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
    parts = []
    if event is not None:
        parts.append(_one_line("event", event))
    if id is not None:
        parts.append(_one_line("id", id))
    if retry is not None:
        parts.append(b"retry: %d\n" % retry)
    if b"\n" in data or b"\r" in data:
        lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        parts += [b"data: " + line + b"\n" for line in lines]
    else:
        parts.append(b"data: " + data + b"\n")
    return b"".join([*parts, b"\n"])


def _one_line(name: str, value: str) -> bytes:
    if "\n" in value or "\r" in value:
        raise ValueError(f"{name} of an event must be one line")
    return f"{name}: {value}\n".encode()
