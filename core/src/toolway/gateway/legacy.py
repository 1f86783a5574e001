"""The handshake era (2024-11-05 to 2025-11-25) towards clients: its methods, over whatever transport."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from toolway.errors import ToolwayError
from toolway.gateway.dispatch import fault, not_found, text_of
from toolway.gateway.exchange import Exchange
from toolway.gateway.lists import LIST_METHODS
from toolway.gateway.plane import DataPlane
from toolway.gateway.sessions import ClientSession, Record
from toolway.gateway.streams import EventStream
from toolway.gateway.subscriptions import Listener
from toolway.gateway.translate import SERVER_INFO
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.routing import CALL_METHODS, Reply, Wants
from toolway.mcp.clients import LEVELS
from toolway.mcp.errors import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, RpcError, redacted
from toolway.mcp.messages import Envelope, decoded, split_meta
from toolway.mcp.versions import negotiate

log = logging.getLogger(__name__)

Method = Callable[[ClientSession, dict[str, Raw], Principal], Awaitable[None]]
replace = msgspec.structs.replace


class Initialize(msgspec.Struct, rename="camel"):
    """`params` of initialize."""

    protocol_version: str
    capabilities: dict[str, Any]
    client_info: dict[str, Any]


class LegacyMethods:
    """Answers the messages of a session."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._methods: dict[str, Method] = {
            "ping": self._ping,
            "logging/setLevel": self._set_level,
            "resources/subscribe": self._subscribe,
            "resources/unsubscribe": self._unsubscribe,
        }

    def enter(self) -> None:
        """Hear of sessions from now on."""
        self._plane.sessions.changed = lambda session: self._plane.start(self._follow(session))
        self._plane.sessions.closers.append(self._forget)

    def initialize(self, params: dict[str, Raw], server: str, principal: Principal) -> tuple[str, Record, Raw]:
        """The version to speak, what the client said, and the result; raises RpcError -32602."""
        try:
            wanted = msgspec.convert({k: msgspec.json.decode(v) for k, v in params.items()}, Initialize)
        except (msgspec.ValidationError, msgspec.DecodeError):
            raise RpcError(INVALID_PARAMS, "initialize needs protocolVersion, capabilities and clientInfo") from None
        view, version, lists = self._plane.view(server), negotiate(wanted.protocol_version), self._plane.lists
        result = {
            "protocolVersion": version,
            "capabilities": {k: v for k, v in lists.capabilities(view, principal).items() if k != "extensions"},
            "serverInfo": SERVER_INFO,
            **lists.instructions(view, principal),
        }
        return version, Record(wanted.capabilities, wanted.client_info), Raw(msgspec.json.encode(result))

    async def took(self, session: ClientSession, envelope: Envelope, body: bytes) -> bool:
        """Take a response or a notification; False for a request, which wants an answer."""
        if envelope.method is UNSET:
            self._plane.sessions.answer(session, envelope, body)
        elif envelope.id is UNSET or envelope.id is None:
            await self._notification(session, envelope.method, envelope.members)
        else:
            return False
        return True

    async def request(
        self, session: ClientSession, principal: Principal, envelope: Envelope, stream: EventStream, *, closes: bool
    ) -> tuple[Exchange, Coroutine[Any, Any, None] | None]:
        """Answer a request on `stream`; what is still to be done for that, if anything, has to be awaited."""
        request_id, method = envelope.id, str(envelope.method)
        if not isinstance(request_id, int | str) or request_id in session.exchanges:
            raise RpcError(INVALID_REQUEST, "this id is in use by another request of the session")
        about = session.client, session.introduction
        exchange = Exchange(request_id, principal, *about, stream, session, session=session, closes=closes)
        if method in CALL_METHODS:
            own, meta = split_meta(envelope.members)
            exchange.begin(method, own, meta or {}, session.sealed.server)
            session.exchanges[request_id] = exchange
            return exchange, self._run(session, exchange)
        exchange.finish(await self._immediate(session, principal, method, envelope.members))
        return exchange, None

    async def attached(self, session: ClientSession, principal: Principal) -> None:
        """The session's GET stream is on this node now: changed lists and updates are reported here."""
        listener = _listener(session, principal)
        listener.principal = principal  # the stream is of this credential, whoever subscribed to something before
        self._plane.hub.add(listener, Wants(tools=True, prompts=True, resources=True))
        await self._follow(session)

    async def _run(self, session: ClientSession, exchange: Exchange) -> None:
        try:
            await self._plane.dispatch.run(exchange, self._plane.view(session.sealed.server))
        finally:
            session.exchanges.pop(exchange.request_id, None)

    async def _notification(self, session: ClientSession, method: str, params: dict[str, Raw]) -> None:
        """Unknown ones are ignored (JSON-RPC 2.0 section 4.1)."""
        if method == "notifications/cancelled":
            if (request_id := decoded(params, "requestId", int | str)) is not None:  # type: ignore[arg-type]
                self._plane.sessions.cancelled(session, request_id)
        elif method in ("notifications/roots/list_changed", "notifications/progress"):
            for held in self._plane.legs.of_session(session):
                if held.era == "legacy":
                    await _quietly(held.connection.notify(method, params), held.upstream.name)

    async def _immediate(
        self, session: ClientSession, principal: Principal, method: str, params: dict[str, Raw]
    ) -> Reply:
        plane = self._plane
        try:
            if method in LIST_METHODS:
                view = plane.view(session.sealed.server)
                return Reply(plane.lists.page(plane.catalog.snapshot, view, method, "legacy", principal, params))
            if (handler := self._methods.get(method)) is None:
                raise RpcError(METHOD_NOT_FOUND, f"method {method!r} is not known in this protocol version")
            await handler(session, params, principal)
            return Reply()
        except Exception as error:  # noqa: BLE001 - every failure is an answer; unexpected ones are logged
            return Reply(fault=redacted(fault(error), plane.dispatch.redact))

    async def _ping(self, session: ClientSession, params: dict[str, Raw], principal: Principal) -> None:
        """The answer is enough."""

    async def _set_level(self, session: ClientSession, params: dict[str, Raw], principal: Principal) -> None:
        level = decoded(params, "level", str)
        if level not in LEVELS:
            raise RpcError(INVALID_PARAMS, f"level must be one of {', '.join(LEVELS)}")
        await self._plane.sessions.update(session, lambda record: replace(record, log_level=level))
        for held in self._plane.legs.of_session(session):
            await _quietly(held.set_level(level), held.upstream.name)

    async def _subscribe(self, session: ClientSession, params: dict[str, Raw], principal: Principal) -> None:
        uri = text_of(params, "uri")
        _listener(session, principal)
        await self._plane.sessions.update(session, lambda record: replace(record, uris=sorted({*record.uris, uri})))
        if uri not in await self._follow(session):
            await self._unsubscribe(session, params, principal)
            raise not_found(uri)

    async def _unsubscribe(self, session: ClientSession, params: dict[str, Raw], principal: Principal) -> None:
        uri = text_of(params, "uri")
        await self._plane.sessions.update(session, lambda r: replace(r, uris=[each for each in r.uris if each != uri]))
        await self._follow(session)

    async def _follow(self, session: ClientSession) -> frozenset[str]:
        """Watch what the session is subscribed to, on the node that has its GET stream (or any, without one)."""
        listener, uris = session.listener, frozenset(session.record.uris)
        if listener is None:
            return uris
        if session.attached or session.record.listener in ("", self._plane.node):
            return await self._plane.hub.watch(listener, uris)
        await self._plane.hub.remove(listener)
        return uris

    def _forget(self, session: ClientSession) -> None:
        if session.listener is not None:
            self._plane.start(self._plane.hub.remove(session.listener))
            session.listener = None


def _listener(session: ClientSession, principal: Principal) -> Listener:
    if session.listener is None:
        session.listener = Listener(session.sealed.server, principal, session.client, session.notify, session)
    return session.listener


async def _quietly(work: Awaitable[Any], upstream: str) -> None:
    """What an upstream makes of a client's remark is not the client's affair."""
    try:
        await work
    except ToolwayError as error:
        log.info("upstream %s could not be told: %s", upstream, error.message)
