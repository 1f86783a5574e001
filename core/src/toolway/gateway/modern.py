"""MCP 2026-07-28 and later towards clients: every POST stands alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from toolway.catalog.snapshot import ServerView
from toolway.errors import CallLost
from toolway.gateway.exchange import Exchange
from toolway.gateway.http import Answer, Request
from toolway.gateway.lists import LIST_METHODS
from toolway.gateway.outgoing import tool_headers
from toolway.gateway.parked import State
from toolway.gateway.plane import DataPlane
from toolway.gateway.progress import decoded
from toolway.gateway.relay import Reply as Send
from toolway.gateway.streams import EventStream
from toolway.gateway.subscriptions import Listener
from toolway.hookspecs.routing import CALL_METHODS, Call, ClientProfile, Reply, Wants
from toolway.mcp.errors import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, UNSUPPORTED_VERSION, RpcError
from toolway.mcp.headers import HeaderMap, HeaderMismatch, validate
from toolway.mcp.messages import Envelope, encode_error, encode_notification, encode_result, split_meta
from toolway.mcp.versions import (
    CLIENT_CAPABILITIES_KEY,
    CLIENT_INFO_KEY,
    LOG_LEVEL_KEY,
    MODERN,
    PROTOCOL_VERSION_KEY,
    SERVER_INFO_KEY,
    SUBSCRIPTION_ID_KEY,
)

REMEMBERED_PROFILE = 4096
"""Bytes; what a client says about itself is decoded once while it is no longer than this."""


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

    async def post(self, request: Request, envelope: Envelope) -> None:
        """Answer one message; errors carry the request's id."""
        if envelope.method is UNSET:
            raise RpcError(INVALID_REQUEST, "responses are not accepted here; send requests and notifications")
        if envelope.id is UNSET or envelope.id is None:
            await request.reply(202)
            return
        params, meta = split_meta(envelope.members)
        client, view = _client(request, meta or {}), self._plane.view(request.server)
        _check_headers(request, envelope.method, params, view)
        if envelope.method in CALL_METHODS or envelope.method == "subscriptions/listen":
            exchange = Exchange(envelope.id, client, EventStream(), parking=self._plane.parking)
            server, principal = request.server, request.principal
            exchange.begin(Call(envelope.method, params, meta or {}, server, principal, client, exchange, 0.0))
            await (self._run if envelope.method in CALL_METHODS else self._listen)(request, exchange, view)
        else:
            result = self._immediate(request, envelope.method, params, view)
            await request.reply(200, encode_result(envelope.id, result))

    async def _run(self, request: Request, exchange: Exchange, view: ServerView) -> None:
        stream = exchange.stream
        exchange = self._resumed(exchange)
        if exchange.task is None:
            exchange.task = self._plane.start(self._plane.dispatch.run(exchange, view))
        complete = False
        try:
            complete = await Answer(request, stream, status=lambda: exchange.status).write()
        finally:
            if not complete:
                exchange.cancel()

    def _resumed(self, exchange: Exchange) -> Exchange:
        """The call that this request continues, or itself; its params are then what the upstream gets."""
        params = exchange.call.params
        if (sealed := params.get("requestState")) is None:
            return exchange
        state = exchange.state = self._plane.parking.open(exchange, sealed)
        answers = params.get("inputResponses", Raw(b"{}"))
        if state.parked and state.node != self._plane.node:
            exchange.task = self._plane.start(self._resume_at_peer(exchange, state, answers))
        elif state.parked:
            return self._plane.parking.resume(state.parked, _answers(answers), exchange.request_id, exchange.stream)
        params = {key: value for key, value in params.items() if key != "requestState"}
        if state.inner is not None:
            params["requestState"] = Raw(state.inner)
        elif not state.upstream:
            params.pop("inputResponses", None)
        exchange.call.params = params
        return exchange

    async def _resume_at_peer(self, exchange: Exchange, state: State, answers: Raw) -> None:
        body = {"parked": state.parked, "answers": bytes(answers), "id": exchange.request_id}
        try:
            async for message in self._plane.relay.stream(state.node, "resume", **body):
                if message:
                    exchange.stream.put(message)
            if not exchange.stream.sequence:
                raise CallLost(f"node {state.node}, which held this call, ended; its outcome is unknown")
            exchange.stream.close()
        except Exception as error:  # noqa: BLE001 - every failure is an answer; unexpected ones are logged
            exchange.finish(Reply(fault=self._plane.dispatch.fault(error)))

    async def _resume_for_peer(self, body: dict[str, Any], reply: Send) -> None:
        stream = EventStream()
        try:
            exchange = self._plane.parking.resume(body["parked"], _answers(body["answers"]), body["id"], stream)
        except RpcError as error:
            await reply(encode_error(body["id"], self._plane.dispatch.fault(error)))
            return
        position = 0
        try:
            while not (stream.closed and position >= stream.sequence):
                await stream.wait(position, 60.0)
                for sequence, message in stream.since(position):
                    await reply(message)
                    position = sequence
                    stream.sent(position)
        finally:
            if not stream.closed:
                exchange.cancel()

    def _immediate(self, request: Request, method: str, params: dict[str, Raw], view: ServerView) -> Raw:
        lists, snapshot = self._plane.lists, self._plane.catalog.snapshot
        if method in LIST_METHODS:
            return lists.page(snapshot, view, method, "modern", request.principal, params)
        if method != "server/discover":
            raise RpcError(METHOD_NOT_FOUND, f"method {method!r} is not known in this protocol version")
        result = {
            "supportedVersions": list(MODERN),
            "capabilities": view.capabilities,
            **({"instructions": view.instructions} if view.instructions else {}),
            **lists.fields(view),
        }
        return Raw(msgspec.json.encode(result))

    async def _listen(self, request: Request, exchange: Exchange, view: ServerView) -> None:
        try:
            wanted = msgspec.json.decode(exchange.params.get("notifications", Raw(b"{}")), type=ListenFilter)
        except msgspec.DecodeError:
            raise RpcError(INVALID_PARAMS, "params.notifications is not a subscription filter", status=400) from None
        stream, hub = exchange.stream, self._plane.hub
        tag = {SUBSCRIPTION_ID_KEY: exchange.request_id}
        emit = partial(_emit_tagged, stream, Raw(msgspec.json.encode(tag)))
        early: list[tuple[str, Mapping[str, Raw]]] = []
        listener = Listener(request.server, request.principal, exchange.client, lambda *event: early.append(event))
        meta = {**tag, SERVER_INFO_KEY: self._plane.server_info}
        ended = Reply(Raw(msgspec.json.encode({"resultType": "complete", "_meta": meta})))
        with self._plane.open_streams.opened(request.principal, lambda: exchange.finish(ended)):
            try:
                honoured = _honoured(wanted, view)
                hub.add(listener, _wants(honoured))
                in_force = await hub.watch(listener, frozenset(honoured.resource_subscriptions or ()))
                honoured.resource_subscriptions = sorted(in_force) or None
                emit("notifications/subscriptions/acknowledged", {"notifications": Raw(msgspec.json.encode(honoured))})
                for event in early:
                    emit(*event)
                listener.emit = emit
                await Answer(request, stream).write(sse=True)
            finally:
                await hub.remove(listener)


def _client(request: Request, meta: dict[str, Raw]) -> ClientProfile:
    for key in (PROTOCOL_VERSION_KEY, CLIENT_CAPABILITIES_KEY):
        if key not in meta:
            raise RpcError(INVALID_PARAMS, f"params._meta must have {key!r}", status=400)
    info, level = meta.get(CLIENT_INFO_KEY, Raw(b"{}")), meta.get(LOG_LEVEL_KEY, Raw(b"null"))
    said = [bytes(each) for each in (meta[PROTOCOL_VERSION_KEY], meta[CLIENT_CAPABILITIES_KEY], info, level)]
    try:
        small = sum(map(len, said)) <= REMEMBERED_PROFILE
        client = (_profile if small else _profile.__wrapped__)(*said)
    except msgspec.DecodeError:
        raise RpcError(INVALID_PARAMS, "params._meta has protocol keys of the wrong type", status=400) from None
    header = request.headers.get("mcp-protocol-version")
    if header != client.version:
        raise HeaderMismatch(f"MCP-Protocol-Version is {header!r}, params._meta says {client.version!r}")
    if client.version not in MODERN:
        data = Raw(msgspec.json.encode({"supported": list(MODERN), "requested": client.version}))
        raise RpcError(UNSUPPORTED_VERSION, "this protocol version is not supported", data=data)
    return client


def _check_headers(request: Request, method: str, params: dict[str, Raw], view: ServerView) -> None:
    parameters: HeaderMap = {}
    if method == "tools/call" and "name" in params:
        found = view.find("tool", decoded(params, "name", str) or "")
        parameters = tool_headers(found.item.raw) if found is not None else {}
    validate(method, params, request.headers, request.repeated, parameters)


@lru_cache(maxsize=1024)
def _profile(version: bytes, capabilities: bytes, info: bytes, level: bytes) -> ClientProfile:
    decode = msgspec.json.decode
    return ClientProfile(
        decode(version, type=str),
        decode(capabilities, type=dict[str, Any]),
        decode(info, type=dict[str, Any]),
        decode(level, type=str | None),
    )


def _answers(raw: bytes | Raw) -> dict[str, Raw]:
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
