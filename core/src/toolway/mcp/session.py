"""Sealed legacy session ids and event ids: state that the client carries, so that any node can serve it."""

from __future__ import annotations

import msgspec

SESSION_SECONDS = 12 * 3600.0
SESSION_PURPOSE = "session"
EVENT_PURPOSE = "event"


class SealedSession(msgspec.Struct, frozen=True, array_like=True):
    """What an `Mcp-Session-Id` holds. `expires` is Unix seconds; rights are looked up afresh for `principal`."""

    id: str
    version: str
    principal: str
    server: str
    expires: float


class EventId(msgspec.Struct, frozen=True, array_like=True):
    """Where an SSE event stands: `node` owns the buffer of stream `stream` of `session`."""

    node: str
    session: str
    stream: int
    sequence: int


encode = msgspec.msgpack.encode
decode_session = msgspec.msgpack.Decoder(SealedSession).decode
"""The content of an opened session id; raises msgspec.DecodeError."""

decode_event = msgspec.msgpack.Decoder(EventId).decode
"""The content of an opened event id; raises msgspec.DecodeError."""
