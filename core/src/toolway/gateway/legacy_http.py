"""Streamable HTTP with sessions: POST, the GET stream with resumption, DELETE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from toolway.gateway.http import Answer, Request
from toolway.gateway.legacy import LegacyMethods
from toolway.gateway.plane import DataPlane
from toolway.gateway.sessions import ClientSession
from toolway.gateway.streams import EventStream
from toolway.hookspecs.auth import Principal
from toolway.mcp.errors import INVALID_REQUEST, UNSUPPORTED_VERSION, RpcError
from toolway.mcp.messages import Envelope, encode_result
from toolway.mcp.session import EVENT_PURPOSE, EventId, decode_event, encode
from toolway.mcp.versions import LEGACY, MODERN

if TYPE_CHECKING:
    from toolway.catalog.snapshot import ServerView

SESSION_NOT_FOUND = -32600


class LegacyHttp:
    """Serves sessions on the same URL as the modern era."""

    def __init__(self, plane: DataPlane, methods: LegacyMethods) -> None:
        self._plane = plane
        self._methods = methods
        plane.relay.on_stream("replay", self._replay_for_peer)

    async def post(
        self, request: Request, envelope: Envelope, body: bytes, view: ServerView, principal: Principal
    ) -> None:
        """Answer one message of a session, or make a session for `initialize`."""
        if envelope.method == "initialize" and "mcp-session-id" not in request.headers:
            await self._initialize(request, envelope, view, principal)
            return
        session = await self._session(request, view, principal)
        if envelope.method is UNSET:
            await self._plane.sessions.answer(session, envelope, body)
            await request.reply(202)
        elif envelope.id is UNSET or envelope.id is None:
            await self._methods.notification(session, envelope)
            await request.reply(202)
        else:
            await self._request(request, envelope, session, view, principal)

    async def get(self, request: Request, view: ServerView, principal: Principal) -> None:
        """The session's own stream, or the rest of a broken one (`Last-Event-ID`)."""
        if "text/event-stream" not in request.headers.get("accept", ""):
            raise RpcError(INVALID_REQUEST, "Accept must include text/event-stream", status=406)
        session = await self._session(request, view, principal)
        last = self._event(request, session)
        if last is not None and last.node != self._plane.node:
            await self._replay_from_peer(request, session, last)
        elif last is not None and last.stream and last.stream in session.streams:
            stream = session.streams[last.stream]
            await self._answer(request, session, stream).write(sse=True, position=last.sequence)
        else:
            await self._listen(request, session, principal, last)

    async def delete(self, request: Request, view: ServerView, principal: Principal) -> None:
        """End the session."""
        session = await self._session(request, view, principal)
        await self._plane.sessions.end(session)
        await request.reply(204)

    async def _initialize(self, request: Request, envelope: Envelope, view: ServerView, principal: Principal) -> None:
        params = envelope.members
        wanted, version, result = self._methods.initialize(params, view)
        token, _ = await self._plane.sessions.create(
            principal, view.settings.name, version, wanted.capabilities, wanted.client_info
        )
        if not isinstance(envelope.id, int | str):
            raise RpcError(INVALID_REQUEST, "initialize needs an id")
        await request.reply(200, encode_result(envelope.id, result), [(b"mcp-session-id", token.encode())])

    async def _request(
        self, request: Request, envelope: Envelope, session: ClientSession, view: ServerView, principal: Principal
    ) -> None:
        stream = session.open_stream()
        try:
            await self._methods.request(session, envelope, view, principal, stream)
        except BaseException:
            session.discard(stream)
            raise
        if await self._answer(request, session, stream).write():
            session.discard(stream)
        else:
            session.release(stream)

    def _answer(self, request: Request, session: ClientSession, stream: EventStream) -> Answer:
        def event_id(stream: EventStream, sequence: int) -> str:
            place = EventId(self._plane.node, session.id, stream.number, sequence)
            return self._plane.seal.seal(EVENT_PURPOSE, encode(place))

        return Answer(request, stream, event_id=event_id, prime=session.sealed.version >= "2025-11-25")

    async def _listen(
        self, request: Request, session: ClientSession, principal: Principal, last: EventId | None
    ) -> None:
        stream = session.reattach(last.sequence if last is not None and last.stream == 0 else None)
        position = stream.delivered
        session.attached = True
        await self._plane.sessions.update(session, listener=self._plane.node)
        await self._methods.attached(session, principal)
        try:
            await self._answer(request, session, stream).write(sse=True, position=position)
        finally:
            if session.general is stream:
                session.attached = False
                await self._plane.sessions.update(session, listener="")
                await self._methods.detached(session)

    async def _session(self, request: Request, view: ServerView, principal: Principal) -> ClientSession:
        token = request.headers.get("mcp-session-id")
        version = request.headers.get("mcp-protocol-version")
        if version is not None and version not in LEGACY:
            supported = msgspec.Raw(msgspec.json.encode({"supported": [*MODERN, *LEGACY], "requested": version}))
            raise RpcError(
                UNSUPPORTED_VERSION, f"protocol version {version!r} is not supported", data=supported, status=400
            )
        if token is None:
            raise RpcError(INVALID_REQUEST, "Missing session ID: send initialize first", status=400)
        session = await self._plane.sessions.find(token, principal, view.settings.name)
        if session is None:
            raise RpcError(SESSION_NOT_FOUND, "Session not found: send initialize again", status=404)
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
        stream = EventStream(last.stream)
        stream.sequence = stream.delivered = last.sequence

        async def fill() -> None:
            try:
                pieces = self._plane.relay.stream(
                    last.node, "replay", session=session.id, stream=last.stream, sequence=last.sequence
                )
                async for message in pieces:
                    stream.put(message)
            finally:
                stream.close()

        task = self._plane.start(fill())
        try:
            await self._answer(request, session, stream).write(sse=True, position=last.sequence)
        finally:
            task.cancel()

    async def _replay_for_peer(self, body: dict[str, Any], reply: Any) -> None:
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
