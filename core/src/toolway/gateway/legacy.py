"""The handshake era (2024-11-05 to 2025-11-25) towards clients: its methods, over whatever transport."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from toolway.catalog.uris import UnknownUri
from toolway.gateway.dispatch import not_found
from toolway.gateway.exchange import Exchange
from toolway.gateway.lists import LIST_METHODS
from toolway.gateway.plane import DataPlane, encode_reply
from toolway.gateway.progress import LEVELS
from toolway.gateway.sessions import ClientSession
from toolway.gateway.streams import EventStream
from toolway.gateway.subscriptions import Listener
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.routing import CALL_METHODS, Call, Reply, Wants
from toolway.mcp.errors import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, RpcError
from toolway.mcp.messages import Envelope, encode_result, split_meta
from toolway.mcp.versions import negotiate

if TYPE_CHECKING:
    from toolway.catalog.snapshot import ServerView

EMPTY = Raw(b"{}")


class Initialize(msgspec.Struct, rename="camel"):
    """`params` of initialize."""

    protocol_version: str
    capabilities: dict[str, Any]
    client_info: dict[str, Any]


class LegacyMethods:
    """Answers the methods of a session."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._listeners: dict[str, Listener] = {}
        self._methods: dict[str, Callable[[ClientSession, dict[str, Raw], ServerView, Principal], Awaitable[Raw]]] = {
            "ping": self._ping,
            "logging/setLevel": self._set_level,
            "resources/subscribe": self._subscribe,
            "resources/unsubscribe": self._unsubscribe,
        }
        plane.sessions.changed.append(self._follow)
        plane.sessions.closers.append(self._forget)

    def initialize(self, params: dict[str, Raw], view: ServerView) -> tuple[Initialize, str, Raw]:
        """What the client said, the version to speak, and the result; raises RpcError -32602."""
        try:
            wanted = msgspec.convert({k: msgspec.json.decode(v) for k, v in params.items()}, Initialize)
        except (msgspec.ValidationError, msgspec.DecodeError):
            raise RpcError(INVALID_PARAMS, "initialize needs protocolVersion, capabilities and clientInfo") from None
        version = negotiate(wanted.protocol_version)
        result = {
            "protocolVersion": version,
            "capabilities": {key: value for key, value in view.capabilities.items() if key != "extensions"},
            "serverInfo": self._plane.server_info,
            **({"instructions": view.instructions} if view.instructions else {}),
        }
        return wanted, version, Raw(msgspec.json.encode(result))

    async def request(
        self,
        session: ClientSession,
        envelope: Envelope,
        view: ServerView,
        principal: Principal,
        stream: EventStream,
        *,
        closes: bool = True,
    ) -> Exchange:
        """Begin to answer a request on `stream`."""
        request_id = envelope.id
        if not isinstance(request_id, int | str) or request_id in session.exchanges:
            raise RpcError(INVALID_REQUEST, "this id is in use by another request of the session")
        exchange = Exchange(request_id, session.client, stream, session, closes=closes)
        if envelope.method in CALL_METHODS:
            own, meta = split_meta(envelope.members)
            call = Call(
                str(envelope.method),
                own,
                meta or {},
                view.settings.name,
                principal,
                session.client,
                exchange,
                0.0,
                session.id,
            )
            session.exchanges[request_id] = exchange

            def done() -> None:
                session.exchanges.pop(request_id, None)

            exchange.task = self._plane.start(self._plane.answer_call(call, exchange, view, done))
        else:
            exchange.finish(*await self._immediate(session, request_id, envelope, view, principal))
        return exchange

    async def notification(self, session: ClientSession, envelope: Envelope) -> None:
        """Take a client's notification; unknown ones are ignored (JSON-RPC 2.0 section 4.1)."""
        params = envelope.members
        if envelope.method == "notifications/cancelled":
            if (request_id := _request_id(params)) is not None:
                await self._plane.sessions.cancelled(session, request_id)
        elif envelope.method in ("notifications/roots/list_changed", "notifications/progress"):
            for held in self._plane.legs.of_session(session):
                if held.era == "legacy":
                    await held.connection.notify(str(envelope.method), params)

    async def attached(self, session: ClientSession, principal: Principal) -> None:
        """The session's GET stream is on this node now: changed lists and updates are reported here."""
        listener = self._listener(session, principal)
        self._plane.hub.add(listener, Wants(tools=True, prompts=True, resources=True))
        await self._follow(session)

    async def detached(self, session: ClientSession) -> None:
        """The GET stream ended; what is subscribed stays for when it comes back here."""
        listener = self._listeners.get(session.id)
        if listener is not None and not session.record.uris:
            await self._plane.hub.remove(listener)

    async def _immediate(
        self, session: ClientSession, request_id: int | str, envelope: Envelope, view: ServerView, principal: Principal
    ) -> tuple[bytes, int]:
        params = envelope.members
        method = str(envelope.method)
        try:
            if method in LIST_METHODS:
                snapshot = self._plane.catalog.snapshot
                result = self._plane.lists.page(snapshot, view, method, "legacy", principal, params)
            elif (handler := self._methods.get(method)) is not None:
                result = await handler(session, params, view, principal)
            else:
                raise RpcError(METHOD_NOT_FOUND, f"method {method!r} is not known in this protocol version")
        except Exception as error:  # noqa: BLE001 - every failure is an answer; unexpected ones are logged
            return encode_reply(request_id, Reply(fault=self._plane.dispatch.fault(error)))[0], 200
        return encode_result(request_id, result), 200

    async def _ping(
        self, session: ClientSession, params: dict[str, Raw], view: ServerView, principal: Principal
    ) -> Raw:
        return EMPTY

    async def _set_level(
        self, session: ClientSession, params: dict[str, Raw], view: ServerView, principal: Principal
    ) -> Raw:
        level = msgspec.json.decode(params.get("level", Raw(b"null")))
        if level not in LEVELS:
            raise RpcError(INVALID_PARAMS, f"level must be one of {', '.join(LEVELS)}")
        await self._plane.sessions.update(session, log_level=level)
        for held in self._plane.legs.of_session(session):
            await held.set_level(level)
        return EMPTY

    async def _subscribe(
        self, session: ClientSession, params: dict[str, Raw], view: ServerView, principal: Principal
    ) -> Raw:
        uri = _uri(params)
        try:
            view.resolve_uri(uri)
        except UnknownUri as unknown:
            raise not_found(uri, unknown) from None
        self._listener(session, principal)
        await self._set_uris(session, {*session.record.uris, uri})
        return EMPTY

    async def _unsubscribe(
        self, session: ClientSession, params: dict[str, Raw], view: ServerView, principal: Principal
    ) -> Raw:
        await self._set_uris(session, set(session.record.uris) - {_uri(params)})
        return EMPTY

    async def _set_uris(self, session: ClientSession, uris: set[str]) -> None:
        await self._plane.sessions.update(session, uris=sorted(uris))
        await self._follow(session)

    async def _follow(self, session: ClientSession) -> None:
        """Watch what the session is subscribed to, on the node that has its GET stream (or any, without one)."""
        listener = self._listeners.get(session.id)
        if listener is not None:
            here = session.attached or session.record.listener in ("", self._plane.node)
            await self._plane.hub.watch(listener, frozenset(session.record.uris) if here else frozenset())

    def _listener(self, session: ClientSession, principal: Principal) -> Listener:
        known = self._listeners.get(session.id)
        if known is None:
            known = self._listeners[session.id] = Listener(
                session.sealed.server, principal, session.client, session.notify, session
            )
        return known

    def principal_of(self, session: ClientSession) -> Principal:
        """Who opened the stream of a session that is attached here."""
        return self._listeners[session.id].principal

    def _forget(self, session: ClientSession) -> None:
        if (listener := self._listeners.pop(session.id, None)) is not None:
            self._plane.start(self._plane.hub.remove(listener))


def _uri(params: dict[str, Raw]) -> str:
    try:
        return msgspec.json.decode(params["uri"], type=str)
    except (KeyError, msgspec.DecodeError):
        raise RpcError(INVALID_PARAMS, "params.uri must be a string") from None


def _request_id(params: dict[str, Raw]) -> int | str | None:
    try:
        return msgspec.json.decode(params.get("requestId", Raw(b"null")), type=int | str | None)
    except msgspec.DecodeError:
        return None
