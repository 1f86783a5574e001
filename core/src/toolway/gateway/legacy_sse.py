"""The HTTP+SSE transport of 2024-11-05: one GET stream carries everything, POSTs are only accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from msgspec import UNSET

from toolway.gateway.http import PING_SECONDS, SSE_HEADERS, Request, Watcher
from toolway.gateway.legacy import LegacyMethods
from toolway.gateway.plane import DataPlane
from toolway.hookspecs.auth import Principal
from toolway.mcp.errors import INVALID_REQUEST, RpcError
from toolway.mcp.messages import Envelope, decode, encode_result
from toolway.mcp.sse import encode_event

if TYPE_CHECKING:
    from toolway.catalog.snapshot import ServerView
    from toolway.gateway.sessions import ClientSession

VERSION = "2024-11-05"


class LegacySse:
    """Serves `/sse` and `/messages` of each server."""

    def __init__(self, plane: DataPlane, methods: LegacyMethods) -> None:
        self._plane = plane
        self._methods = methods
        plane.relay.on("post", self._post_from_peer)

    async def stream(self, request: Request, view: ServerView, principal: Principal, messages: str) -> None:
        """The GET: names the URL for POSTs, then carries every message to the client."""
        token, session = await self._plane.sessions.create(principal, view.settings.name, VERSION, {}, {})
        session.attached = True
        await self._plane.sessions.update(session, listener=self._plane.node)
        await self._methods.attached(session, principal)
        start = {"type": "http.response.start", "status": 200, "headers": SSE_HEADERS}
        await request.send(start)
        endpoint = encode_event(f"{messages}?session_id={token}".encode(), event="endpoint")
        await request.send({"type": "http.response.body", "body": endpoint, "more_body": True})
        try:
            await self._pump(request, session)
        finally:
            await self._plane.sessions.end(session)

    async def post(self, request: Request, body: bytes, view: ServerView, principal: Principal) -> None:
        """Accept one message; what it brings comes on the stream."""
        token = parse_qs(request.query).get("session_id", [""])[0]
        session = await self._plane.sessions.find(token, principal, view.settings.name) if token else None
        if session is None:
            raise RpcError(INVALID_REQUEST, "Session not found: connect to the SSE endpoint again", status=404)
        envelope = decode(body)
        if session.attached:
            await self._take(session, envelope, body, view, principal)
        elif session.record.listener:
            await self._plane.relay.send(session.record.listener, "post", session=session.id, message=body)
        else:
            raise RpcError(
                INVALID_REQUEST, "the session's stream is closed: connect to the SSE endpoint again", status=404
            )
        await request.reply(202, b"Accepted", [(b"content-type", b"text/plain")])

    async def _take(
        self, session: ClientSession, envelope: Envelope, body: bytes, view: ServerView, principal: Principal
    ) -> None:
        if envelope.method is UNSET:
            await self._plane.sessions.answer(session, envelope, body)
        elif not isinstance(envelope.id, int | str):
            await self._methods.notification(session, envelope)
        elif envelope.method == "initialize":
            params = envelope.members
            wanted, _, result = self._methods.initialize(params, view)
            await self._plane.sessions.update(session, capabilities=wanted.capabilities, info=wanted.client_info)
            session.general.put(encode_result(envelope.id, result))
        else:
            await self._methods.request(session, envelope, view, principal, session.general, closes=False)

    async def _post_from_peer(self, body: dict[str, Any]) -> None:
        session = self._plane.sessions.local(body["session"])
        view = self._plane.catalog.snapshot.servers.get(session.sealed.server) if session else None
        if session is not None and view is not None:
            principal = self._methods.principal_of(session)
            await self._take(session, decode(body["message"]), body["message"], view, principal)

    async def _pump(self, request: Request, session: ClientSession) -> None:
        stream, position = session.general, 0
        watcher = Watcher(request, stream)
        try:
            while not watcher.left and not (stream.closed and position >= stream.sequence):
                for sequence, message in stream.since(position):
                    event = encode_event(message, event="message")
                    await request.send({"type": "http.response.body", "body": event, "more_body": True})
                    position = sequence
                    stream.sent(position)
                if not await stream.wait(position, PING_SECONDS):
                    await request.send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
            await request.send({"type": "http.response.body", "body": b""})
        finally:
            watcher.stop()
