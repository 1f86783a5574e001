"""From a public name to its upstream: routes, authorizes and runs calls through the middleware chains."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from toolway.catalog.uris import UnknownUri
from toolway.errors import ToolwayError
from toolway.gateway.chain import compile_chain
from toolway.hookspecs.routing import CALL_METHODS, Call, Reply, RequestMiddleware, Target
from toolway.mcp.errors import INVALID_PARAMS, RpcError, fault_of

if TYPE_CHECKING:
    from toolway.catalog.snapshot import Exposed, ServerView
    from toolway.gateway.attempt import Attempts
    from toolway.gateway.exchange import Exchange
    from toolway.gateway.lists import Lists
    from toolway.gateway.parked import Parking

log = logging.getLogger(__name__)


class CompletionRef(msgspec.Struct):
    """What a completion is for: a prompt by name or a resource template by URI."""

    type: str
    name: str = ""
    uri: str = ""


class Dispatch:
    """Runs the four calls."""

    def __init__(
        self, attempts: Attempts, lists: Lists, parking: Parking, middleware: Sequence[RequestMiddleware]
    ) -> None:
        self._attempts = attempts
        self._lists = lists
        self._parking = parking
        self._chains = {method: compile_chain(middleware, method, self._final) for method in CALL_METHODS}

    async def call(self, call: Call, exchange: Exchange, view: ServerView) -> Reply:
        """Route, authorize and run; every failure becomes a fault that says what happened, never how."""
        try:
            if call.client.era == "modern":
                self._reopen(call)
                self._parking.attach(exchange, call)
            call.target = self._route(call, view)
            call.__dict__["exchange"] = exchange
            return await self._chains[call.method](call)
        except Exception as error:  # noqa: BLE001 - every failure is an answer; unexpected ones are logged
            return Reply(fault=self.fault(error))

    @staticmethod
    def fault(error: Exception) -> Any:
        """The JSON-RPC fault for an exception; unexpected ones are logged under an error id."""
        error_id = secrets.token_hex(8)
        if not isinstance(error, ToolwayError):
            log.error("request failed unexpectedly (error id %s)", error_id, exc_info=error)
        return fault_of(error, error_id)

    async def _final(self, call: Call) -> Reply:
        return await self._attempts.run(call, call.__dict__["exchange"])

    def _reopen(self, call: Call) -> None:
        sealed = call.params.get("requestState")
        if sealed is None:
            return
        state = self._parking.open(call, sealed)
        call.params = {key: value for key, value in call.params.items() if key != "requestState"}
        if state.inner is not None:
            call.params["requestState"] = Raw(state.inner)
        elif not state.upstream:
            call.params.pop("inputResponses", None)

    def _route(self, call: Call, view: ServerView) -> Target:
        if call.method == "tools/call":
            return self._named(call, view, "tool")
        if call.method == "prompts/get":
            return self._named(call, view, "prompt")
        if call.method == "resources/read":
            return self._uri(call, view, _text(call.params, "uri"))
        return self._completion(call, view)

    def _named(self, call: Call, view: ServerView, kind: Any) -> Target:
        name = _text(call.params, "name")
        found: Exposed | None = view.find(kind, name)
        if found is None or not self._lists.may_use(view, kind, found.item.canonical, call.principal):
            raise RpcError(INVALID_PARAMS, f"Unknown {kind}: {name}")
        call.params["name"] = Raw(msgspec.json.encode(found.target.name))
        if found.target.fixed:
            arguments = {**call.arguments(), **found.target.fixed}
            call.params["arguments"] = Raw(msgspec.json.encode(arguments))
            call.__dict__["arguments_"] = arguments
        return found.target

    def _uri(self, call: Call, view: ServerView, uri: str) -> Target:
        try:
            target = view.resolve_uri(uri)
        except UnknownUri as unknown:
            raise not_found(uri, unknown) from None
        if not self._lists.may_use(view, "resource", f"{target.upstream}/{target.name}", call.principal):
            raise RpcError(INVALID_PARAMS, f"Resource not found: {uri}", data=_uri_data(uri))
        call.params["uri"] = Raw(msgspec.json.encode(target.name))
        return target

    def _completion(self, call: Call, view: ServerView) -> Target:
        try:
            ref = msgspec.json.decode(call.params.get("ref", Raw(b"null")), type=CompletionRef)
        except msgspec.DecodeError:
            raise RpcError(
                INVALID_PARAMS, "ref must be a ref/prompt with a name or a ref/resource with a uri"
            ) from None
        kind: Any = "prompt" if ref.type == "ref/prompt" else "template"
        name = ref.name if kind == "prompt" else ref.uri
        found = view.find(kind, name)
        if found is None or not self._lists.may_use(view, kind, found.item.canonical, call.principal):
            raise RpcError(INVALID_PARAMS, f"Unknown {ref.type}: {name}")
        own = {**msgspec.json.decode(call.params["ref"]), ("name" if kind == "prompt" else "uri"): found.target.name}
        call.params["ref"] = Raw(msgspec.json.encode(own))
        return found.target


def not_found(uri: str, unknown: UnknownUri) -> RpcError:
    """The -32602 of MCP 2026-07-28 for an unknown resource; names candidates when the URI was ambiguous."""
    message = f"Resource not found: {uri}"
    if unknown.candidates:
        message += f"; it could be of any of {', '.join(unknown.candidates)}: use toolway://<upstream>/<encoded uri>"
    return RpcError(INVALID_PARAMS, message, data=_uri_data(uri))


def _uri_data(uri: str) -> Raw:
    return Raw(msgspec.json.encode({"uri": uri}))


def _text(params: dict[str, Raw], key: str) -> str:
    try:
        return msgspec.json.decode(params[key], type=str)
    except (KeyError, msgspec.DecodeError):
        raise RpcError(INVALID_PARAMS, f"params.{key} must be a string") from None
