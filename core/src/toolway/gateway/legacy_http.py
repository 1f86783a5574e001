"""Streamable HTTP with sessions: POST, the GET stream with resumption, DELETE."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from toolway.gateway.http import PING, Answer, Request
from toolway.gateway.legacy import LegacyMethods
from toolway.gateway.plane import DataPlane
from toolway.gateway.relay import Reply
from toolway.gateway.sessions import ClientSession
from toolway.gateway.streams import EventStream
from toolway.mcp.errors import INVALID_REQUEST, UNSUPPORTED_VERSION, RpcError
from toolway.mcp.messages import Envelope, encode_result
from toolway.mcp.session import EVENT_PURPOSE, EventId, decode_event, encode
from toolway.mcp.sse import encode_event
from toolway.mcp.versions import LEGACY, MODERN


class LegacyHttp:
    """Serves sessions on the same URL as the modern era."""

    def __init__(self, plane: DataPlane, methods: LegacyMethods) -> None:
        self._plane = plane
        self._methods = methods
        plane.relay.on_stream("replay", self._replay_for_peer)

    async def post(self, request: Request, envelope: Envelope, body: bytes) -> None:
        """Answer one message of a session, or make a session for `initialize`."""
        if envelope.method == "initialize" and "mcp-session-id" not in request.headers:
            await self._initialize(request, envelope)
            return
        session = await self._session(request)
        if envelope.method is UNSET:
            self._plane.sessions.answer(session, envelope, body)
            await request.reply(202)
        elif envelope.id is UNSET or envelope.id is None:
            await self._methods.notification(session, envelope)
            await request.reply(202)
        else:
            await self._request(request, session, envelope)

    async def get(self, request: Request) -> None:
        """The session's own stream, or the rest of a broken one (`Last-Event-ID`)."""
        if "text/event-stream" not in request.headers.get("accept", ""):
            raise RpcError(INVALID_REQUEST, "Accept must include text/event-stream", status=406)
        session = await self._session(request)
        last = self._event(request, session)
        if last is None or last.stream == 0:
            await self._listen(request, session, None if last is None else last.sequence)
        elif last.node != self._plane.node:
            await self._replay_from_peer(request, session, last)
        elif (stream := session.streams.get(last.stream)) is not None:
            await self._write(self._answer(request, session, stream), session, position=last.sequence, sse=True)
        else:
            raise RpcError(INVALID_REQUEST, "the events after this Last-Event-ID are not kept any more", status=400)

    async def delete(self, request: Request) -> None:
        """End the session."""
        await self._plane.sessions.end(await self._session(request))
        await request.reply(204)

    async def _initialize(self, request: Request, envelope: Envelope) -> None:
        if not isinstance(envelope.id, int | str):
            raise RpcError(INVALID_REQUEST, "initialize needs an id")
        version, record, result = self._methods.initialize(envelope.members, request.server)
        session = await self._plane.sessions.create(request.principal, request.server, version, record)
        await request.reply(200, encode_result(envelope.id, result), [(b"mcp-session-id", session.token.encode())])

    async def _request(self, request: Request, session: ClientSession, envelope: Envelope) -> None:
        stream = session.open_stream()
        try:
            exchange = await self._methods.request(session, request.principal, envelope, stream, closes=True)
        except BaseException:
            session.discard(stream)
            raise
        answer = self._answer(request, session, stream)
        answer.status = lambda: exchange.status
        await self._write(answer, session)

    async def _write(self, answer: Answer, session: ClientSession, *, position: int = 0, sse: bool = False) -> None:
        """Whoever has an event id may come back for the rest; a complete JSON answer needs no more."""
        complete = False
        try:
            complete = await answer.write(sse=sse, position=position) and not answer.streamed
        finally:
            if complete:
                session.discard(answer.stream)
            else:
                answer.stream.left_at = self._plane.clock.monotonic()

    def _answer(self, request: Request, session: ClientSession, stream: EventStream, node: str = "") -> Answer:
        def event_id(sequence: int) -> str:
            place = EventId(node or self._plane.node, session.id, stream.number, sequence)
            return self._plane.seal.seal(EVENT_PURPOSE, encode(place))

        def frame(_: EventStream, sequence: int, message: bytes) -> bytes:
            return encode_event(message, id=event_id(sequence))

        primed = session.sealed.version >= "2025-11-25"
        first = encode_event(b"", id=event_id(stream.delivered), retry=1000) if primed else PING
        return Answer(request, stream, frame=frame, first=first)

    async def _listen(self, request: Request, session: ClientSession, position: int | None) -> None:
        def end() -> None:
            session.general.close()

        with self._plane.open_streams.opened(request.principal, end):
            await self._plane.sessions.claim(session)
            stream, start = session.attach(position)
            try:
                await self._methods.attached(session, request.principal)
                await self._answer(request, session, stream).write(sse=True, position=start)
            finally:
                if session.general is stream:
                    await self._methods.detached(session)

    async def _session(self, request: Request) -> ClientSession:
        token, version = request.headers.get("mcp-session-id"), request.headers.get("mcp-protocol-version")
        if version is not None and version not in LEGACY:
            supported = Raw(msgspec.json.encode({"supported": [*MODERN, *LEGACY], "requested": version}))
            what = f"protocol version {version!r} is not supported"
            raise RpcError(UNSUPPORTED_VERSION, what, data=supported, status=400)
        if token is None:
            raise RpcError(INVALID_REQUEST, "Missing session ID: send initialize first", status=400)
        session = await self._plane.sessions.find(token, request.principal, request.server)
        if session is None:
            raise RpcError(INVALID_REQUEST, "Session not found: send initialize again", status=404)
        return session

    def _event(self, request: Request, session: ClientSession) -> EventId | None:
        token = request.headers.get("last-event-id")
        if token is None:
            return None
        payload = self._plane.seal.open(EVENT_PURPOSE, token)
        event = decode_event(payload) if payload is not None else None
        if event is None or event.session != session.id:
            raise RpcError(INVALID_REQUEST, "Last-Event-ID is not one of this session", status=400)
        return event

    async def _replay_from_peer(self, request: Request, session: ClientSession, last: EventId) -> None:
        body = {"session": session.id, "stream": last.stream, "sequence": last.sequence}
        pieces = self._plane.relay.stream(last.node, "replay", **body)
        await anext(pieces)  # raises CallLost while this can still be said
        stream = EventStream(last.stream)
        stream.sequence = stream.delivered = last.sequence
        task = self._plane.start(_fill(stream, pieces))
        try:
            await self._answer(request, session, stream, last.node).write(sse=True, position=last.sequence)
        finally:
            task.cancel()

    async def _replay_for_peer(self, body: dict[str, Any], reply: Reply) -> None:
        session = self._plane.sessions.local(body["session"])
        stream = session.streams.get(body["stream"]) if session is not None else None
        position = body["sequence"]
        while stream is not None:
            for sequence, message in stream.since(position):
                await reply(message)
                position = sequence
            if stream.closed and position >= stream.sequence:
                return
            await stream.wait(position, 60.0)


async def _fill(stream: EventStream, pieces: AsyncIterator[bytes]) -> None:
    try:
        async for message in pieces:
            if message:
                stream.put(message)
    finally:
        stream.close()
