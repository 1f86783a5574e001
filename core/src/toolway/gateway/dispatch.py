"""From a public name to its upstream: routes, authorizes and runs calls through the middleware chains."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import msgspec
from msgspec import Raw

from toolway.catalog.snapshot import ServerView
from toolway.catalog.uris import UnknownUri
from toolway.errors import Forbidden, PluginError, ToolwayError
from toolway.gateway.attempt import Attempts
from toolway.gateway.exchange import Exchange
from toolway.gateway.limits import Quota
from toolway.gateway.lists import ACTIONS, Lists
from toolway.gateway.parked import bad_state
from toolway.gateway.watching import Watchers
from toolway.hookspecs import routing
from toolway.hookspecs.auth import Resource
from toolway.hookspecs.catalog import Exposed
from toolway.hookspecs.routing import CALL_METHODS, Call, CallNext, ItemKind, RequestMiddleware, Target
from toolway.hookspecs.telemetry import SERVED
from toolway.mcp.errors import INTERNAL_ERROR, INVALID_PARAMS, MISSING_CAPABILITY, RpcError, fault_of, redacted
from toolway.mcp.messages import decoded

log = logging.getLogger(__name__)

SLOW_SECONDS = 0.05
"""After so long a call gets what only slow ones need: a watched deadline, a watch for a client that leaves."""


TOLD = frozenset({401, 403, 429, 503})
"""Statuses of errors that the HTTP answer tells, with headers: get a better credential, or come back later."""


class CompletionRef(msgspec.Struct):
    """What a completion is for: a prompt by name or a resource template by URI."""

    type: str
    name: str = ""
    uri: str = ""


class Dispatch:
    """Runs the four calls; `calls` counts those in flight, `redact` goes over what clients are told of failures."""

    def __init__(
        self,
        attempts: Attempts,
        lists: Lists,
        quota: Quota,
        middleware: Sequence[RequestMiddleware],
        watchers: Watchers,
        redact: Callable[[str], str],
    ) -> None:
        self._access, self.calls, self.watchers = lists.access, quota, watchers
        self._watchers, self.redact = watchers if watchers.see_calls else None, redact
        self._chains = {method: compile_chain(middleware, method, attempts.run) for method in CALL_METHODS}
        self._young: dict[Exchange, float] = {}
        self._slow: set[Exchange] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, exchange: Exchange, view: ServerView) -> None:
        """Route, authorize, run and finish; every failure becomes a fault that says what happened, never how."""
        if self._timer is None:
            self._loop = asyncio.get_running_loop()  # asks the system each time
            self._timer = self._loop.call_later(SLOW_SECONDS, self._look)
        call, exchange.task = exchange.made or exchange.call, asyncio.current_task(self._loop)
        self._young[exchange] = monotonic() + SLOW_SECONDS
        watchers, reply, exchange.headers, began = self._watchers, None, call.reply_headers, 0.0
        if watchers is not None:
            call.served, call.attempts, began = SERVED.get(), [], monotonic()
            watchers.calls.begin(call)
        try:
            self.calls.take(call.principal)
            exchange.clock.slots.append((self.calls, call.principal.id))
            call.target = target = self._route(call, view, exchange.found)
            if call.served is not None and not call.served.upstream:  # else it is made within another one
                call.served.upstream, call.served.item = target.upstream, target.name
            if exchange.state and exchange.state.upstream not in ("", target.upstream):
                raise bad_state()
            reply = await self._chains[call.method](call)
        except asyncio.CancelledError:
            if exchange.end():
                return
            raise
        except Exception as error:  # noqa: BLE001 - every failure is an answer; unexpected ones are logged
            reply = routing.Reply(fault=fault(error))
            exchange.refused = error if getattr(error, "status", 0) in TOLD else None
        finally:
            exchange.end()
            if self._young.pop(exchange, None) is None:
                self._slow.discard(exchange)
            if watchers is not None:
                watchers.done(call, reply, began)
        if reply.fault is not None:
            told = reply.fault = redacted(reply.fault, self.redact)
            if told.code == MISSING_CAPABILITY and call.client.era == "legacy":
                told.code = INTERNAL_ERROR
        exchange.finish(reply)

    async def done(self) -> None:
        """Wait until every call that runs now is answered."""
        if tasks := [exchange.task for exchange in (*self._young, *self._slow) if exchange.task is not None]:
            await asyncio.wait(tasks)

    def _look(self) -> None:
        """Tell the calls that are slow by now. One timer for all: most are over before anything looks at them."""
        now, self._timer = monotonic(), None
        for exchange, due in list(self._young.items()):
            if due > now:
                self._timer = asyncio.get_running_loop().call_later(due - now, self._look)
                break
            del self._young[exchange]
            self._slow.add(exchange)
            exchange.is_slow()

    def _route(self, call: Call, view: ServerView, found: Exposed | None) -> Target:
        if call.method == "resources/read":
            return self._uri(call, view)
        if call.method == "completion/complete":
            return self._completion(call, view)
        kind: ItemKind = "tool" if call.method == "tools/call" else "prompt"
        if found is None or not self._access.allowed(call.principal, ACTIONS[kind], found.resource):
            found = self._find(call, view, kind, kind, text_of(call.params, "name"))
        target = found.target
        call.params = {**call.params, "name": found.own}
        if target.fixed and kind == "tool":
            arguments = {**call.arguments(), **target.fixed}
            _replace(call, "arguments", arguments)
            call.__dict__["arguments_"] = arguments
        return target

    def _find(self, call: Call, view: ServerView, kind: ItemKind, what: str, name: str) -> Exposed:
        found = view.find(kind, name)
        if found is None or not self._access.allowed(call.principal, ACTIONS[kind], found.resource):
            if found is not None:
                self._refuse_out_of_scope(call, ACTIONS[kind], found.resource)
            raise RpcError(INVALID_PARAMS, f"Unknown {what}: {name}")
        return found

    def _refuse_out_of_scope(self, call: Call, action: str, resource: Resource) -> None:
        """Tell what the credential lacks, if nothing else is in the way: its holder can get a better one."""
        if self._access.out_of_scope(call.principal, action, resource):
            scope = f"servers:connect:{resource.server} {action}:{resource.name}"
            raise Forbidden(
                "the credential is not meant for this; get one with the scopes of the challenge", scope=scope
            )

    def _uri(self, call: Call, view: ServerView) -> Target:
        uri = text_of(call.params, "uri")
        try:
            target = view.resolve_uri(uri)
        except UnknownUri as unknown:
            canonical = (name if "/" in name else f"{name}/{uri}" for name in unknown.candidates)
            about = [view.about(name.partition("/")[0], name) for name in canonical]
            visible = [name for name, each in zip(unknown.candidates, about, strict=True) if self._may_read(call, each)]
            raise not_found(uri, visible) from None
        resource = view.about(target.upstream, f"{target.upstream}/{target.name}")
        if not self._may_read(call, resource):
            self._refuse_out_of_scope(call, "resources:read", resource)
            raise not_found(uri)
        _replace(call, "uri", target.name)
        return target

    def _may_read(self, call: Call, resource: Resource) -> bool:
        return self._access.allowed(call.principal, "resources:read", resource)

    def _completion(self, call: Call, view: ServerView) -> Target:
        raw = call.params.get("ref", Raw(b"null"))
        try:
            ref = msgspec.json.decode(raw, type=CompletionRef)
        except msgspec.DecodeError:
            what = "ref must be a ref/prompt with a name or a ref/resource with a uri"
            raise RpcError(INVALID_PARAMS, what) from None
        kind: ItemKind = "prompt" if ref.type == "ref/prompt" else "template"
        key = "name" if kind == "prompt" else "uri"
        target = self._find(call, view, kind, ref.type, getattr(ref, key)).target
        _replace(call, "ref", {**msgspec.json.decode(raw), key: target.name})
        return target


def fault(error: Exception) -> routing.RpcFault:
    """The JSON-RPC fault for an exception; unexpected ones are logged under an error id."""
    error_id = secrets.token_hex(8)
    if not isinstance(error, ToolwayError):
        log.error("request failed unexpectedly (error id %s)", error_id, exc_info=error)
    return fault_of(error, error_id)


def compile_chain(middleware: Sequence[RequestMiddleware], method: str, final: CallNext) -> CallNext:
    """Wrap `final` in every middleware that wants `method`; the first one is outermost, the others cost nothing.

    Raises:
        PluginError: one wants something that is no call.
    """
    chain = final
    for link in reversed(middleware):
        if unknown := sorted(set(link.methods) - CALL_METHODS):
            what = f"request middleware {link.name!r} wants {unknown[0]!r}, which is no call"
            raise PluginError(f"{what}; it can wrap {', '.join(sorted(CALL_METHODS))}")
        chain = _wrap(link, chain) if method in link.methods else chain
    return chain


def _wrap(link: RequestMiddleware, call_next: CallNext) -> CallNext:
    return lambda call: link(call, call_next)


def not_found(uri: str, candidates: Sequence[str] = ()) -> RpcError:
    """The -32602 of MCP 2026-07-28 for an unknown resource; names candidates when the URI was ambiguous."""
    message = f"Resource not found: {uri}"
    if candidates:
        message += f"; it could be of any of {', '.join(candidates)}: use toolway://<upstream>/<encoded uri>"
    return RpcError(INVALID_PARAMS, message, data=Raw(msgspec.json.encode({"uri": uri})))


def _replace(call: Call, key: str, value: Any) -> None:
    call.params = {**call.params, key: Raw(msgspec.json.encode(value))}


def text_of(params: dict[str, Raw], key: str) -> str:
    """A string among the params; raises RpcError -32602."""
    text = decoded(params, key, str)
    if text is None:
        raise RpcError(INVALID_PARAMS, f"params.{key} must be a string")
    return str(text)
