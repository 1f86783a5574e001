"""Legacy sessions over HTTP: streamable HTTP (POST, GET, DELETE), and the HTTP+SSE transport of 2024-11-05."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import parse_qs

import msgspec
from msgspec import Raw

from toolway.catalog.snapshot import ServerView
from toolway.gateway.http import PING, Answer, Request, decode_patiently
from toolway.gateway.legacy import LegacyMethods
from toolway.gateway.plane import DataPlane
from toolway.gateway.relay import Reply
from toolway.gateway.sessions import ClientSession, Record
from toolway.gateway.streams import EventStream
from toolway.hookspecs.auth import Principal
from toolway.mcp.errors import INVALID_REQUEST, UNSUPPORTED_VERSION, RpcError
from toolway.mcp.messages import Envelope, decode, encode_result
from toolway.mcp.session import EventId
from toolway.mcp.sse import encode_event
from toolway.mcp.versions import LEGACY, MODERN

OLDEST = "2024-11-05"


class StreamableHttp:
    """Serves sessions on the same URL as the modern era."""

    def __init__(self, plane: DataPlane, methods: LegacyMethods) -> None:
        self._plane, self._methods = plane, methods

    def enter(self) -> None:
        """Hear other nodes from now on."""
        self._plane.relay.on_stream("replay", self._replay_for_peer)

    async def post(self, request: Request, envelope: Envelope, body: bytes) -> None:
        """Answer one message of a session, or make a session for `initialize`."""
        if envelope.method == "initialize" and b"mcp-session-id" not in request.headers:
            await self._initialize(request, envelope)
            return
        session = await self._session(request)
        if await self._methods.took(session, envelope, body):
            await request.reply(202)
        else:
            await self._request(request, session, envelope)

    async def get(self, request: Request, view: ServerView) -> None:
        """The session's own stream, or the rest of a broken one (`Last-Event-ID`)."""
        if "text/event-stream" not in (request.header(b"accept") or ""):
            raise RpcError(INVALID_REQUEST, "Accept must include text/event-stream", status=406)
        session = await self._session(request)
        last = self._event(request, session)
        if last is None or last.stream == 0:
            await self._listen(request, session, last)
        elif last.node != self._plane.node:
            await self._replay_from_peer(request, session, last)
        elif (stream := session.streams.get(last.stream)) is not None:
            try:
                await self._answer(request, session, stream).events(last.sequence)
            finally:
                stream.left_at = self._plane.clock.monotonic()
        else:
            raise RpcError(INVALID_REQUEST, "the events after this Last-Event-ID are not kept any more", status=400)

    async def delete(self, request: Request, view: ServerView) -> None:
        """End the session."""
        await self._plane.sessions.end(await self._session(request))
        await request.reply(204)

    async def _initialize(self, request: Request, envelope: Envelope) -> None:
        if not isinstance(envelope.id, int | str):
            raise RpcError(INVALID_REQUEST, "initialize needs an id")
        version, record, result = self._methods.initialize(envelope.members, request.head.server, request.principal)
        session = await self._plane.sessions.create(request.principal, request.head.server, version, record)
        await request.reply(200, encode_result(envelope.id, result), (b"mcp-session-id", session.token.encode()))

    async def _request(self, request: Request, session: ClientSession, envelope: Envelope) -> None:
        """Whoever has an event id may come back for the rest; a complete JSON answer needs no more."""
        stream = session.open_stream()
        try:
            exchange, work = await self._methods.request(session, request.principal, envelope, stream, closes=True)
            if work is None:
                await request.reply(exchange.status, stream.events[-1][1])
            else:
                answer = self._answer(request, session, stream)
                exchange.slow = answer
                await answer.reply(work, exchange)
        finally:
            if request.streamed:
                stream.left_at = self._plane.clock.monotonic()
            else:
                session.discard(stream)

    def _answer(self, request: Request, session: ClientSession, stream: EventStream, place: str = "") -> Answer:
        """What writes events whose ids begin with a place: this node's, unless the stream is kept elsewhere."""
        stream_id = f"{place or session.place}.{stream.number}"

        def frame(sequence: int, message: bytes) -> bytes:
            return encode_event(message, id=f"{stream_id}.{sequence}")

        def primed() -> bytes:
            return encode_event(b"", id=f"{stream_id}.{stream.delivered}", retry=1000)

        return Answer(request, stream, frame, primed if session.sealed.version >= "2025-11-25" else lambda: PING)

    async def _listen(self, request: Request, session: ClientSession, heard: EventId | None) -> None:
        plane = self._plane
        stay = plane.streams.begin(request.principal, request.visit(), lambda: session.hang_up())  # noqa: PLW0108 - of the one below
        try:
            await plane.sessions.claim(session, heard)
            session = await self._session(request)  # it may have ended meanwhile
            stream, start = session.attach(heard)
            try:
                await self._methods.attached(session, request.principal)
                await self._answer(request, session, stream).events(start)
            finally:
                if session.general is stream:
                    await plane.sessions.release(session)
        finally:
            plane.streams.leave(stay)

    async def _session(self, request: Request) -> ClientSession:
        token, version = request.header(b"mcp-session-id"), request.header(b"mcp-protocol-version")
        if version is not None and version not in LEGACY:
            supported = Raw(msgspec.json.encode({"supported": [*MODERN, *LEGACY], "requested": version}))
            what = f"protocol version {version!r} is not supported"
            raise RpcError(UNSUPPORTED_VERSION, what, data=supported, status=400)
        if token is None:
            raise RpcError(INVALID_REQUEST, "Missing session ID: send initialize first", status=400)
        session = await self._plane.sessions.find(token, request.principal, request.head.server)
        if session is None:
            raise RpcError(INVALID_REQUEST, "Session not found: send initialize again", status=404)
        session.address = request.address
        return session

    def _event(self, request: Request, session: ClientSession) -> EventId | None:
        token = request.header(b"last-event-id")
        if token is None:
            return None
        event = EventId.read(token, self._plane.seal.open)
        if event is None or event.session != session.id:
            raise RpcError(INVALID_REQUEST, "Last-Event-ID is not one of this session", status=400)
        return event

    async def _replay_from_peer(self, request: Request, session: ClientSession, last: EventId) -> None:
        stream = EventStream(last.stream)
        stream.sequence = stream.delivered = last.sequence
        body = {"session": session.id, "stream": last.stream, "sequence": last.sequence}
        place = str(request.header(b"last-event-id")).partition(".")[0]
        async with self._plane.relay.filling(stream, last.node, "replay", **body):
            await self._answer(request, session, stream, place).events(last.sequence)

    async def _replay_for_peer(self, body: dict[str, Any], reply: Reply) -> None:
        session = self._plane.sessions.local(body["session"])
        stream = session.streams.get(body["stream"]) if session is not None else None
        if stream is not None:
            async for message in stream.messages(body["sequence"]):
                await reply(message)


class HttpWithSse:
    """Serves `/sse` and `/messages` of each server: one GET stream carries everything, POSTs are only accepted."""

    def __init__(self, plane: DataPlane, methods: LegacyMethods) -> None:
        self._plane, self._methods = plane, methods

    def enter(self) -> None:
        """Hear other nodes from now on."""
        self._plane.relay.on("post", self._post_from_peer)

    async def stream(self, request: Request, view: ServerView) -> None:
        """The GET: names the URL for POSTs, then carries every message to the client."""
        plane, path = self._plane, request.scope["path"].rpartition("/")[0]
        messages = f"{request.scope.get('root_path', '')}{path}/messages"
        session = await plane.sessions.create(request.principal, request.head.server, OLDEST, Record())
        try:
            await plane.sessions.claim(session, None)
            stream, _ = session.attach(None)
            stay = plane.streams.begin(request.principal, request.visit(), stream.close)
            try:
                await self._methods.attached(session, request.principal)
                first = encode_event(f"{messages}?session_id={session.token}".encode(), event="endpoint")
                await Answer(request, stream, lambda _, raw: encode_event(raw, event="message"), lambda: first).events()
            finally:
                plane.streams.leave(stay)
        finally:
            await plane.sessions.end(session)

    async def post(self, request: Request, view: ServerView) -> None:
        """Accept one message; what it brings comes on the stream."""
        body = await request.body()
        token = parse_qs(request.scope.get("query_string", b"").decode("latin-1")).get("session_id", [""])[0]
        session = await self._plane.sessions.find(token, request.principal, request.head.server) if token else None
        if session is None or not (session.attached or session.record.listener):
            raise RpcError(INVALID_REQUEST, "Session not found: connect to the SSE endpoint again", status=404)
        session.address = request.address
        envelope = await decode_patiently(body)
        if session.attached:
            await self._take(session, request.principal, envelope, body)
        else:
            principal = msgspec.msgpack.encode(request.principal)
            self._plane.relay.send(session.record.listener, "post", session=session.id, message=body, who=principal)
        await request.reply(202)

    async def _take(self, session: ClientSession, principal: Principal, envelope: Envelope, body: bytes) -> None:
        if await self._methods.took(session, envelope, body):
            return
        if envelope.method == "initialize" and isinstance(envelope.id, int | str):
            _, said, result = self._methods.initialize(envelope.members, session.sealed.server, principal)
            await self._plane.sessions.update(
                session, lambda record: msgspec.structs.replace(record, capabilities=said.capabilities, info=said.info)
            )
            session.general.put(encode_result(envelope.id, result))
            return
        _, work = await self._methods.request(session, principal, envelope, session.general, closes=False)
        if work is not None:
            self._plane.start(work)  # a task that was cancelled before it begins would not free its id

    async def _post_from_peer(self, body: dict[str, Any]) -> None:
        session = self._plane.sessions.local(body["session"])
        if session is not None and session.attached:
            principal = msgspec.msgpack.decode(body["who"], type=Principal)
            with contextlib.suppress(RpcError):  # the client was told 202; what is wrong with its message is its own
                await self._take(session, principal, decode(body["message"]), body["message"])
