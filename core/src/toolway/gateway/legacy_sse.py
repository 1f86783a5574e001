"""The HTTP+SSE transport of 2024-11-05: one GET stream carries everything, POSTs are only accepted."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import parse_qs

import msgspec
from msgspec import UNSET

from toolway.gateway.http import Answer, Request
from toolway.gateway.legacy import LegacyMethods
from toolway.gateway.plane import DataPlane
from toolway.gateway.sessions import ClientSession, Record
from toolway.gateway.streams import EventStream
from toolway.hookspecs.auth import Principal
from toolway.mcp.errors import INVALID_REQUEST, RpcError
from toolway.mcp.messages import decode, encode_result
from toolway.mcp.sse import encode_event

VERSION = "2024-11-05"


class LegacySse:
    """Serves `/sse` and `/messages` of each server."""

    def __init__(self, plane: DataPlane, methods: LegacyMethods) -> None:
        self._plane = plane
        self._methods = methods
        plane.relay.on("post", self._post_from_peer)

    async def stream(self, request: Request, messages: str) -> None:
        """The GET: names the URL for POSTs, then carries every message to the client."""
        session = await self._plane.sessions.create(request.principal, request.server, VERSION, Record())
        try:
            await self._plane.sessions.claim(session)
            stream, _ = session.attach(None)
            with self._plane.open_streams.opened(request.principal, stream.close):
                await self._methods.attached(session, request.principal)
                first = encode_event(f"{messages}?session_id={session.token}".encode(), event="endpoint")
                await Answer(request, stream, frame=_as_message, first=first).write(sse=True)
        finally:
            await self._plane.sessions.end(session)

    async def post(self, request: Request) -> None:
        """Accept one message; what it brings comes on the stream."""
        body = await request.body()
        token = parse_qs(request.query).get("session_id", [""])[0]
        session = await self._plane.sessions.find(token, request.principal, request.server) if token else None
        if session is None or not (session.attached or session.record.listener):
            raise RpcError(INVALID_REQUEST, "Session not found: connect to the SSE endpoint again", status=404)
        decode(body)
        if session.attached:
            await self._take(session, request.principal, body)
        else:
            self._plane.relay.send(session.record.listener, "post", session=session.id, message=body)
        await request.reply(202, b"Accepted", [(b"content-type", b"text/plain")])

    async def _take(self, session: ClientSession, principal: Principal, body: bytes) -> None:
        envelope = decode(body)
        if envelope.method is UNSET:
            self._plane.sessions.answer(session, envelope, body)
        elif not isinstance(envelope.id, int | str):
            await self._methods.notification(session, envelope)
        elif envelope.method == "initialize":
            _, said, result = self._methods.initialize(envelope.members, session.sealed.server)
            await self._plane.sessions.update(
                session, lambda record: msgspec.structs.replace(record, capabilities=said.capabilities, info=said.info)
            )
            session.general.put(encode_result(envelope.id, result))
        else:
            await self._methods.request(session, principal, envelope, session.general, closes=False)

    async def _post_from_peer(self, body: dict[str, Any]) -> None:
        session = self._plane.sessions.local(body["session"])
        if session is not None and session.attached:
            with contextlib.suppress(RpcError):  # the client was told 202; what is wrong with its message is its own
                await self._take(session, self._methods.principal_of(session), body["message"])


def _as_message(stream: EventStream, sequence: int, message: bytes) -> bytes:
    return encode_event(message, event="message")
