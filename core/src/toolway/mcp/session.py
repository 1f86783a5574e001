"""Sealed legacy session ids and event ids: state that the client carries, so that any node can serve it."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

SESSION_SECONDS = 12 * 3600.0
SESSION_PURPOSE = "session"
EVENT_PURPOSE = "event"
_EVENT_ID = re.compile(r"([\w-]+)\.([0-9]{1,15})\.([0-9]{1,15})", re.ASCII)


class SealedSession(msgspec.Struct, frozen=True, array_like=True):
    """What an `Mcp-Session-Id` holds. `expires` is Unix seconds; rights are looked up afresh for `principal`."""

    id: str
    version: str
    principal: str
    server: str
    expires: float


class EventId(msgspec.Struct, frozen=True, array_like=True):
    """Where an SSE event stands: `node` owns the buffer of stream `stream` of `session`.

    As text, node and session are sealed; the numbers follow as they are, for of its own session a client may ask for
    any event.
    """

    node: str
    session: str
    stream: int
    sequence: int

    @classmethod
    def read(cls, text: str, opened: Callable[[str, str], bytes | None]) -> EventId | None:
        """What the text says, `opened` with its seal; None when it is no id of an event."""
        if (parts := _EVENT_ID.fullmatch(text)) is None or (place := opened(EVENT_PURPOSE, parts[1])) is None:
            return None
        return cls(*_decode_place(place), int(parts[2]), int(parts[3]))


decode_session = msgspec.msgpack.Decoder(SealedSession).decode
"""The content of an opened session id; raises msgspec.DecodeError."""

_decode_place = msgspec.msgpack.Decoder(tuple[str, str]).decode
