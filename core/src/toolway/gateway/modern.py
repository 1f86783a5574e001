"""MCP 2026-07-28 and later towards clients: every POST stands alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from toolway.gateway.exchange import Exchange
from toolway.gateway.http import Answer, Request
from toolway.gateway.lists import LIST_METHODS
from toolway.gateway.outgoing import tool_headers
from toolway.gateway.plane import DataPlane, encode_reply, nothing
from toolway.gateway.streams import EventStream
from toolway.gateway.subscriptions import Listener
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.routing import CALL_METHODS, Call, ClientProfile, Reply, Wants
from toolway.mcp.errors import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, UNSUPPORTED_VERSION, RpcError
from toolway.mcp.headers import HeaderMap, HeaderMismatch, validate
from toolway.mcp.messages import Envelope, encode_notification, encode_result, split_meta
from toolway.mcp.versions import (
    CLIENT_CAPABILITIES_KEY,
    CLIENT_INFO_KEY,
    LOG_LEVEL_KEY,
    MODERN,
    PROTOCOL_VERSION_KEY,
    SERVER_INFO_KEY,
    SUBSCRIPTION_ID_KEY,
)

if TYPE_CHECKING:
    from toolway.catalog.snapshot import ServerView
    from toolway.gateway.parked import State


class ListenFilter(msgspec.Struct, rename="camel", omit_defaults=True):
    """`params.notifications` of `subscriptions/listen`."""

    tools_list_changed: bool | None = None
    prompts_list_changed: bool | None = None
    resources_list_changed: bool | None = None
    resource_subscriptions: list[str] | None = None


class ModernFront:
    """Answers modern POSTs."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        plane.relay.on_stream("resume", self._resume_for_peer)

    async def post(self, request: Request, envelope: Envelope, view: ServerView, principal: Principal) -> None:
        """Answer one message; errors carry the request's id."""
        if envelope.method is msgspec.UNSET:
            raise RpcError(INVALID_REQUEST, "responses are not accepted here; send requests and notifications")
        if envelope.id is msgspec.UNSET or envelope.id is None:
            await request.reply(202)
            return
        params, meta = split_meta(envelope.members)
        client = self._client(request, meta)
        self._check_headers(request, envelope.method, params, view)
        if envelope.method in CALL_METHODS:
            call = self._call(envelope.method, params, meta, view, principal, client)
            await self._run(request, envelope.id, call, view)
        elif envelope.method == "subscriptions/listen":
            await self._listen(request, envelope.id, params, view, principal, client)
        else:
            result = self._immediate(envelope.method, params, view, principal)
            await request.reply(200, encode_result(envelope.id, result))

    def _client(self, request: Request, meta: dict[str, Raw] | None) -> ClientProfile:
        version, capabilities = (meta or {}).get(PROTOCOL_VERSION_KEY), (meta or {}).get(CLIENT_CAPABILITIES_KEY)
        if meta is None or version is None or capabilities is None:
            missing = PROTOCOL_VERSION_KEY if not version else CLIENT_CAPABILITIES_KEY
            raise RpcError(INVALID_PARAMS, f"params._meta must have {missing!r}", status=400)
        info, level = meta.get(CLIENT_INFO_KEY, Raw(b"{}")), meta.get(LOG_LEVEL_KEY, Raw(b"null"))
        try:
            client = _profile(bytes(version), bytes(capabilities), bytes(info), bytes(level))
        except msgspec.DecodeError:
            raise RpcError(INVALID_PARAMS, "params._meta has protocol keys of the wrong type", status=400) from None
        header = request.headers.get("mcp-protocol-version")
        if header != client.version:
            raise HeaderMismatch(f"MCP-Protocol-Version is {header!r}, params._meta says {client.version!r}")
        if client.version not in MODERN:
            supported = {"supported": list(MODERN), "requested": client.version}
            raise RpcError(
                UNSUPPORTED_VERSION, "this protocol version is not supported", data=Raw(msgspec.json.encode(supported))
            )
        return client

    def _check_headers(self, request: Request, method: str, params: dict[str, Raw], view: ServerView) -> None:
        parameters: HeaderMap = {}
        if method == "tools/call" and "name" in params:
            found = view.find("tool", _decoded_text(params["name"]))
            parameters = tool_headers(found.item.raw) if found is not None else {}
        validate(method, params, request.headers, request.repeated, parameters)

    def _call(
        self,
        method: str,
        params: dict[str, Raw],
        meta: dict[str, Raw] | None,
        view: ServerView,
        principal: Principal,
        client: ClientProfile,
    ) -> Call:
        return Call(method, params, meta or {}, view.settings.name, principal, client, _NOBODY, 0.0)

    async def _run(self, request: Request, request_id: int | str, call: Call, view: ServerView) -> None:
        stream = EventStream()
        exchange = await self._resumed(request_id, call, stream)
        if exchange is None:
            exchange = Exchange(request_id, call.client, stream)
            call.peer = exchange
            exchange.task = self._plane.start(self._plane.answer_call(call, exchange, view, nothing))
        if not await Answer(request, stream, status=lambda: exchange.status).write():
            exchange.cancel()

    async def _resumed(self, request_id: int | str, call: Call, stream: EventStream) -> Exchange | None:
        sealed = call.params.get("requestState")
        state = self._plane.parking.open(call, sealed) if sealed is not None else None
        if state is None or not state.parked:
            return None
        answers = _answers(call)
        if state.node != self._plane.node:
            exchange = Exchange(request_id, call.client, stream)
            exchange.task = self._plane.start(self._resume_at_peer(state, answers, exchange))
            return exchange
        resumed = self._plane.parking.resume(state.parked, answers, request_id, stream)
        if resumed is None:
            raise RpcError(INVALID_PARAMS, "this requestState was answered already or has expired")
        return resumed

    async def _resume_at_peer(self, state: State, answers: dict[str, Raw], exchange: Exchange) -> None:
        encoded = msgspec.json.encode(answers)
        try:
            stream = self._plane.relay.stream(
                state.node, "resume", parked=state.parked, answers=encoded, id=exchange.request_id
            )
            async for message in stream:
                exchange.stream.put(message)
            exchange.stream.close()
        except Exception as error:  # noqa: BLE001 - every failure is an answer; unexpected ones are logged
            exchange.finish(*encode_reply(exchange.request_id, Reply(fault=self._plane.dispatch.fault(error))))

    async def _resume_for_peer(self, body: dict[str, Any], reply: Any) -> None:
        stream = EventStream()
        answers = msgspec.json.decode(body["answers"], type=dict[str, Raw])
        exchange = self._plane.parking.resume(body["parked"], answers, body["id"], stream)
        if exchange is None:
            error = RpcError(INVALID_PARAMS, "this requestState was answered already or has expired")
            await reply(encode_reply(body["id"], Reply(fault=self._plane.dispatch.fault(error)))[0])
            return
        try:
            while not stream.closed or stream.events:
                await stream.wait(0, 60.0)
                for sequence, message in stream.since(0):
                    await reply(message)
                    stream.sent(sequence)
                if stream.closed and not stream.events:
                    return
        finally:
            if not stream.closed:
                exchange.cancel()

    def _immediate(self, method: str, params: dict[str, Raw], view: ServerView, principal: Principal) -> Raw:
        if method in LIST_METHODS:
            return self._plane.lists.page(self._plane.catalog.snapshot, view, method, "modern", principal, params)
        if method == "server/discover":
            return self._discover(view)
        raise RpcError(METHOD_NOT_FOUND, f"method {method!r} is not known in this protocol version")

    def _discover(self, view: ServerView) -> Raw:
        result = {
            "supportedVersions": list(MODERN),
            "capabilities": view.capabilities,
            **({"instructions": view.instructions} if view.instructions else {}),
            **self._plane.lists.fields(view),
        }
        return Raw(msgspec.json.encode(result))

    async def _listen(
        self,
        request: Request,
        request_id: int | str,
        params: dict[str, Raw],
        view: ServerView,
        principal: Principal,
        client: ClientProfile,
    ) -> None:
        try:
            wanted = msgspec.json.decode(params.get("notifications", Raw(b"{}")), type=ListenFilter)
        except msgspec.DecodeError:
            raise RpcError(INVALID_PARAMS, "params.notifications is not a subscription filter", status=400) from None
        stream = EventStream()
        tag = {SUBSCRIPTION_ID_KEY: request_id}
        emit = partial(_emit_tagged, stream, Raw(msgspec.json.encode(tag)))
        early: list[tuple[str, Mapping[str, Raw]]] = []
        listener = Listener(view.settings.name, principal, client, lambda *event: early.append(event))
        honoured = _honoured(wanted, view)
        self._plane.hub.add(listener, _wants(honoured))
        end = partial(_end_listen, stream, request_id, {**tag, SERVER_INFO_KEY: self._plane.server_info})
        self._plane.closers.add(end)
        try:
            await self._plane.hub.watch(listener, frozenset(honoured.resource_subscriptions or ()))
            emit("notifications/subscriptions/acknowledged", {"notifications": Raw(msgspec.json.encode(honoured))})
            for event in early:
                emit(*event)
            listener.emit = emit
            await Answer(request, stream).write(sse=True)
        finally:
            self._plane.closers.discard(end)
            await self._plane.hub.remove(listener)


class _Nobody:
    def notify(self, method: str, params: object) -> None:
        """There is no client yet."""

    async def ask(self, method: str, params: Raw) -> Raw:
        raise RpcError(INVALID_REQUEST, "the call has not begun")


_NOBODY = _Nobody()


@lru_cache(maxsize=1024)
def _profile(version: bytes, capabilities: bytes, info: bytes, level: bytes) -> ClientProfile:
    decode = msgspec.json.decode
    return ClientProfile(
        decode(version, type=str),
        decode(capabilities, type=dict[str, Any]),
        decode(info, type=dict[str, Any]),
        decode(level, type=str | None),
    )


def _decoded_text(raw: Raw) -> str:
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return ""


def _answers(call: Call) -> dict[str, Raw]:
    raw = call.params.get("inputResponses", Raw(b"{}"))
    try:
        return msgspec.json.decode(raw, type=dict[str, Raw])
    except msgspec.DecodeError:
        raise RpcError(INVALID_PARAMS, "params.inputResponses must be an object") from None


def _honoured(wanted: ListenFilter, view: ServerView) -> ListenFilter:
    offered = view.capabilities
    return ListenFilter(
        tools_list_changed=(wanted.tools_list_changed and "tools" in offered) or None,
        prompts_list_changed=(wanted.prompts_list_changed and "prompts" in offered) or None,
        resources_list_changed=(wanted.resources_list_changed and "resources" in offered) or None,
        resource_subscriptions=(wanted.resource_subscriptions if "resources" in offered else None) or None,
    )


def _wants(honoured: ListenFilter) -> Wants:
    return Wants(
        tools=bool(honoured.tools_list_changed),
        prompts=bool(honoured.prompts_list_changed),
        resources=bool(honoured.resources_list_changed),
    )


def _emit_tagged(stream: EventStream, meta: Raw, method: str, params: Any) -> None:
    stream.put(encode_notification(method, {**params, "_meta": meta}))


def _end_listen(stream: EventStream, request_id: int | str, meta: dict[str, Any]) -> None:
    """The gateway stops: a subscription ends with its response."""
    result = {"resultType": "complete", "_meta": meta}
    stream.put(encode_result(request_id, Raw(msgspec.json.encode(result))))
    stream.close()
