"""MCP 2026-07-28 and later towards clients: every POST stands alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import lru_cache, partial
from typing import Any, NoReturn

import msgspec
from msgspec import UNSET, Raw

from toolway.catalog.snapshot import ServerView
from toolway.errors import CallLost
from toolway.gateway import relay
from toolway.gateway.dispatch import SLOW_SECONDS, fault
from toolway.gateway.exchange import Exchange
from toolway.gateway.http import PING, Answer, Request
from toolway.gateway.lists import LIST_METHODS
from toolway.gateway.parked import State
from toolway.gateway.plane import DataPlane
from toolway.gateway.streams import EventStream
from toolway.gateway.subscriptions import KINDS, Listener
from toolway.gateway.translate import SERVER_INFO, introduction, tool_facts
from toolway.hookspecs.catalog import Exposed
from toolway.hookspecs.routing import CALL_METHODS, Call, ClientProfile, Reply, Wants
from toolway.mcp import versions
from toolway.mcp.clients import can_be_asked
from toolway.mcp.errors import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, UNSUPPORTED_VERSION, RpcError
from toolway.mcp.headers import NAMED, HeaderMismatch, validate
from toolway.mcp.messages import Envelope, decoded, encode_error, encode_notification, encode_result
from toolway.mcp.sse import encode_event

REMEMBERED_META = 4096
"""Bytes; what a client says about itself is decoded once while it is no longer than this."""

SPOKEN = frozenset(version.encode() for version in versions.MODERN)
NULL = Raw(b"null")


class ListenFilter(msgspec.Struct, rename="camel"):
    """`params.notifications` of `subscriptions/listen`."""

    tools_list_changed: bool | None = None
    prompts_list_changed: bool | None = None
    resources_list_changed: bool | None = None
    resource_subscriptions: list[str] | None = None


class ModernFront:
    """Answers modern POSTs."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    def enter(self) -> None:
        """Hear other nodes from now on."""
        self._plane.relay.on_stream("resume", self._resume_for_peer)

    def post(self, request: Request, envelope: Envelope, view: ServerView) -> Awaitable[None]:
        """What answers one message; errors carry the request's id."""
        method, request_id = envelope.method, envelope.id
        if method is UNSET:
            raise RpcError(INVALID_REQUEST, "responses are not accepted here; send requests and notifications")
        if request_id is UNSET or request_id is None:
            return request.reply(202)
        params = envelope.params or {}
        said = bytes(params.pop("_meta", b"{}"))
        meta, client, about, spoken = (_introduced if len(said) <= REMEMBERED_META else _introduced.__wrapped__)(said)
        if spoken != request.headers.get(b"mcp-protocol-version") or spoken not in SPOKEN:
            _refuse_version(request, client)
        found = _checked_headers(request, method, params, view)
        if method in LIST_METHODS or method == "server/discover":
            return request.reply(200, encode_result(request_id, self._immediate(request, method, params, view)))
        plane, principal, stream = self._plane, request.principal, EventStream()
        exchange = Exchange(request_id, principal, client, about, stream, plane.parking, params=params, found=found)
        exchange.made = Call(
            method, params, {**meta}, request.head.server, principal, client, exchange, 0.0, "", request.address
        )
        if method in CALL_METHODS:
            if "requestState" in params or (client.capabilities and can_be_asked(client)):
                return self._patient_call(request, exchange, view)
            answer = Answer(request, stream, gone=exchange.cancel)
            exchange.slow = answer
            return answer.reply(plane.dispatch.run(exchange, view), exchange)
        if method == "subscriptions/listen":
            return self._listen(request, exchange, view)
        raise RpcError(METHOD_NOT_FOUND, f"method {method!r} is not known in this protocol version")

    def _patient_call(self, request: Request, exchange: Exchange, view: ServerView) -> Awaitable[None]:
        """A call of a client that can be asked may have to wait for it, which takes longer than its request."""
        plane, stream, exchange.visit = self._plane, exchange.stream, request.visit()
        exchange = self._resumed(exchange)
        if exchange.task is None and exchange.made is not None:  # else it ended while it was parked
            exchange.task = plane.start(plane.dispatch.run(exchange, view))
        answer = Answer(request, stream, gone=exchange.cancel)
        asyncio.get_running_loop().call_later(SLOW_SECONDS, answer.is_slow)
        return answer.reply(stream.ended(), exchange)

    def _resumed(self, exchange: Exchange) -> Exchange:
        """The call that this request continues, or itself; its params are then what the upstream gets."""
        params, parking = exchange.call.params, self._plane.parking
        if (sealed := params.get("requestState")) is None:
            return exchange
        state = exchange.state = parking.open(exchange, sealed)
        answers = params.get("inputResponses", Raw(b"{}"))
        if state.parked and state.node != self._plane.node:
            exchange.task = self._plane.start(self._resume_at_peer(exchange, state, answers))
        elif state.parked:
            return parking.resume(state.parked, _answers(answers), exchange.request_id, exchange.stream, exchange.visit)
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
            await relay.fill(exchange.stream, self._plane.relay.stream(state.node, "resume", **body))
            if not exchange.stream.sequence:
                raise CallLost(f"node {state.node}, which held this call, ended; its outcome is unknown")
            exchange.stream.close()
        except Exception as error:  # noqa: BLE001 - every failure is an answer; unexpected ones are logged
            exchange.finish(Reply(fault=fault(error)))

    async def _resume_for_peer(self, body: dict[str, Any], reply: relay.Reply) -> None:
        stream = EventStream()
        try:
            exchange = self._plane.parking.resume(body["parked"], _answers(body["answers"]), body["id"], stream)
        except RpcError as error:
            await reply(encode_error(body["id"], fault(error)))
            return
        try:
            async for message in stream.messages(0):
                await reply(message)
        finally:
            if not stream.closed:
                exchange.cancel()

    def _immediate(self, request: Request, method: str, params: dict[str, Raw], view: ServerView) -> Raw:
        lists, snapshot = self._plane.lists, self._plane.catalog.snapshot
        if method in LIST_METHODS:
            return lists.page(snapshot, view, method, "modern", request.principal, params)
        result = {
            "supportedVersions": list(versions.MODERN),
            "capabilities": lists.capabilities(view, request.principal),
            **lists.instructions(view, request.principal),
            **lists.fields(view),
        }
        return Raw(msgspec.json.encode(result))

    async def _listen(self, request: Request, exchange: Exchange, view: ServerView) -> None:
        """Report until either side ends it; the acknowledgement comes before anything else."""
        try:
            asked = msgspec.json.decode(exchange.params.get("notifications", Raw(b"{}")), type=ListenFilter)
        except msgspec.DecodeError:
            raise RpcError(INVALID_PARAMS, "params.notifications is not a subscription filter", status=400) from None
        plane, stream = self._plane, exchange.stream
        tag = {versions.SUBSCRIPTION_ID_KEY: exchange.request_id}
        meta = {**tag, versions.SERVER_INFO_KEY: SERVER_INFO}
        ended = Reply(Raw(msgspec.json.encode({"resultType": "complete", "_meta": meta})))
        tagged = partial(_tagged, Raw(msgspec.json.encode(tag)))
        principal, client = request.principal, exchange.client
        listener = Listener(request.head.server, principal, client, lambda *event: stream.put(tagged(*event)))
        stay = plane.streams.begin(principal, request.visit(), partial(exchange.finish, ended))
        try:
            wants = _wants(asked, view)
            plane.hub.add(listener, wants)
            in_force = await plane.hub.watch(listener, wants.uris)
            honoured = Raw(msgspec.json.encode(_honoured(wants, in_force)))
            first = encode_event(tagged("notifications/subscriptions/acknowledged", {"notifications": honoured}))
            await Answer(request, stream, first=lambda: PING + first).events()
        finally:
            plane.streams.leave(stay)
            await plane.hub.remove(listener)


@lru_cache(maxsize=1024)
def _introduced(said: bytes) -> tuple[dict[str, Raw], ClientProfile, dict[str, Raw], bytes]:
    """Of `_meta`: its members, what the client says about itself, how that is said to modern upstreams, its version."""
    decode = msgspec.json.decode
    try:
        meta = decode(said, type=dict[str, Raw])
        client = ClientProfile(
            decode(meta[versions.PROTOCOL_VERSION_KEY], type=str),
            decode(meta[versions.CLIENT_CAPABILITIES_KEY], type=dict[str, Any]),
            decode(meta.get(versions.CLIENT_INFO_KEY, b"{}"), type=dict[str, Any]),
            decode(meta.get(versions.LOG_LEVEL_KEY, b"null"), type=str | None),
        )
    except KeyError as missing:
        raise RpcError(INVALID_PARAMS, f"params._meta must have {missing}", status=400) from None
    except msgspec.DecodeError:
        what = "params._meta must be an object, and its protocol keys of the right type"
        raise RpcError(INVALID_PARAMS, what, status=400) from None
    return meta, client, introduction(client), client.version.encode("latin-1", "replace")


def _refuse_version(request: Request, client: ClientProfile) -> NoReturn:
    header = request.header(b"mcp-protocol-version")
    if header != client.version:
        raise HeaderMismatch(f"MCP-Protocol-Version is {header!r}, params._meta says {client.version!r}")
    data = Raw(msgspec.json.encode({"supported": list(versions.MODERN), "requested": client.version}))
    raise RpcError(UNSUPPORTED_VERSION, "this protocol version is not supported", data=data)


def _checked_headers(request: Request, method: str, params: dict[str, Raw], view: ServerView) -> Exposed | None:
    """The tool that is called, if one is; most headers mirror the body to the letter, which is seen at once."""
    found, raw, head = None, params.get(NAMED.get(method, ""), NULL), request.head
    is_named = raw is NULL or head.quoted == raw
    if method == "tools/call" and raw is not NULL:
        found = view.found["tool"].get(head.name if is_named else decoded(params, "name", str) or "")
    parameters = tool_facts(found.item.raw)[0] if found is not None else {}
    if parameters or not is_named or head.method != method or head.repeats:
        said = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.items()}
        names = [name.decode("latin-1") for name, _ in request.scope["headers"]]
        validate(method, params, said, {name for name in names if names.count(name) > 1}, parameters)
    return found


def _answers(raw: bytes | Raw) -> dict[str, Raw]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Raw])
    except msgspec.DecodeError:
        raise RpcError(INVALID_PARAMS, "params.inputResponses must be an object") from None


def _wants(asked: ListenFilter, view: ServerView) -> Wants:
    offered = view.capabilities
    return Wants(
        tools=bool(asked.tools_list_changed) and "tools" in offered,
        prompts=bool(asked.prompts_list_changed) and "prompts" in offered,
        resources=bool(asked.resources_list_changed) and "resources" in offered,
        uris=frozenset(asked.resource_subscriptions or ()) if "resources" in offered else frozenset(),
    )


def _honoured(wants: Wants, in_force: frozenset[str]) -> dict[str, Any]:
    """The subset of the filter that the gateway keeps to (MCP 2026-07-28, subscriptions)."""
    kept: dict[str, Any] = {f"{kind}ListChanged": True for kind in KINDS if getattr(wants, kind)}
    return {**kept, **({"resourceSubscriptions": sorted(in_force)} if in_force else {})}


def _tagged(meta: Raw, method: str, params: Any) -> bytes:
    return encode_notification(method, {**params, "_meta": meta})
