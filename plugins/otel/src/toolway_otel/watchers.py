"""Makes spans of what the gateway tells: a request, its calls, their attempts."""

from __future__ import annotations

from collections.abc import Callable
from time import time_ns

import msgspec
from msgspec import Raw

from toolway.hookspecs.attempts import Attempt
from toolway.hookspecs.routing import Call, Reply
from toolway.hookspecs.telemetry import SERVED, Served
from toolway.plugin import ToolwayError
from toolway_otel.context import of_headers, of_meta, of_raw_meta
from toolway_otel.settings import OtelSettings
from toolway_otel.trace import KEY, Span, Trace, begin

Keep = Callable[[Trace, list[Span]], None]
TARGETS = {"tools/call": "gen_ai.tool.name", "prompts/get": "gen_ai.prompt.name", "resources/read": "mcp.resource.uri"}
"""Attributes of the OpenTelemetry conventions for MCP (semantic-conventions-genai, docs/gen-ai/mcp.md)."""


class ToolResult(msgspec.Struct, rename="camel"):
    """What a result of `tools/call` says of itself."""

    is_error: bool = False


TOOL_RESULT = msgspec.json.Decoder(ToolResult)


class Requests:
    """One trace per HTTP request; it is given to `keep` if it was sampled, failed or was slow."""

    name = "otel"

    def __init__(self, settings: OtelSettings, keep: Keep) -> None:
        self._bound = round(settings.sample_ratio * 2**64)
        self._keeps_errors, self._slow = settings.keep_errors, settings.keep_slower or float("inf")
        self._keep = keep

    def begin(self, request: Served) -> None:
        """See `RequestWatcher`."""
        remote, carried = of_headers(request.scope["headers"])
        trace = request.__dict__[KEY] = begin(remote, carried, self._bound)
        _identify(request, trace)

    def done(self, request: Served) -> None:
        """See `RequestWatcher`."""
        trace: Trace = request.__dict__[KEY]
        root, trace.is_over = trace.root, True
        if not trace.is_remote and request.meta:
            remote, _ = of_raw_meta(request.meta)
            if remote is not None:
                trace.follow(remote)
        is_error = request.status >= 500 or request.error is not None
        trace.is_kept = (
            trace.is_sampled or (self._keeps_errors and (is_error or trace.failed)) or request.seconds >= self._slow
        )
        if not trace.is_kept:
            return
        root.end, root.parent = time_ns(), trace.parent
        scope = request.scope
        root.name = f"{scope['method']} {request.route}" if request.route else scope["method"]
        root.attributes = {
            "http.request.method": scope["method"],
            "http.response.status_code": request.status,
            "network.protocol.version": scope["http_version"],
            "url.scheme": scope["scheme"],
            **{
                key: value
                for key, value in (
                    ("http.route", request.route),
                    ("client.address", (scope.get("client") or ("",))[0]),
                    ("mcp.method.name", request.method),
                    ("toolway.server", request.server),
                    ("toolway.principal", request.principal.id if request.principal is not None else ""),
                    ("toolway.request_id", request.request_id),
                )
                if value
            },
        }
        if is_error:
            root.error = type(request.error).__name__ if request.error is not None else ""
            root.attributes["error.type"] = root.error or str(request.status)
        self._keep(trace, [root, *trace.spans])


class Calls:
    """The span of a call, which is where the client's `_meta` is known too."""

    name = "otel"

    def __init__(self, keep: Keep) -> None:
        self._keep = keep

    def begin(self, call: Call) -> None:
        """See `CallWatcher`."""
        served = SERVED.get()
        trace: Trace | None = served.__dict__.get(KEY) if served is not None else None
        if served is None or trace is None:
            return
        span = Span(call.method, "server", trace.root.id)
        if "traceparent" in call.meta:
            remote, carried = of_meta(call.meta)
            trace.carried = {**carried, **trace.carried}
            if remote is not None and not trace.is_remote:
                trace.follow(remote)
                _identify(served, trace)
            elif remote is not None and remote.trace_id != trace.id:
                span.link = remote
        call.__dict__[KEY] = trace, span

    def done(self, call: Call, reply: Reply | None, seconds: float) -> None:
        """See `CallWatcher`."""
        if (found := call.__dict__.pop(KEY, None)) is None:
            return
        trace, span = found
        span.end, target = time_ns(), call.target
        span.attributes = {"mcp.method.name": call.method, "mcp.protocol.version": call.client.version}
        if call.session:
            span.attributes["mcp.session.id"] = call.session
        if target is not None:
            span.attributes["toolway.upstream"] = target.upstream
            if (name := TARGETS.get(call.method)) is not None:
                span.attributes[name] = target.name
                if call.method != "resources/read":
                    span.name = f"{call.method} {target.name}"
            if call.method == "tools/call":
                span.attributes["gen_ai.operation.name"] = "execute_tool"
        self._judge(span, call, reply)
        trace.failed = trace.failed or span.error is not None
        if not trace.is_over:
            trace.spans.append(span)
        elif trace.is_kept or span.error is not None:  # it waited for its client, who came back with another request
            self._keep(trace, [span])

    def _judge(self, span: Span, call: Call, reply: Reply | None) -> None:
        if reply is None:
            span.error, span.attributes["error.type"] = "cancelled", "cancelled"
        elif reply.fault is not None:
            span.error = reply.fault.message
            span.attributes["error.type"] = span.attributes["rpc.response.status_code"] = str(reply.fault.code)
        elif call.method == "tools/call" and reply.result is not None and _failed(reply.result):
            span.error, span.attributes["error.type"] = "the tool says so", "tool_error"


class Attempts:
    """The span of each attempt, which the upstream gets as its parent."""

    name = "otel"

    def __init__(self) -> None:
        self._running: dict[Attempt, tuple[Trace, Span]] = {}

    def begin(self, attempt: Attempt) -> None:
        """See `AttemptWatcher`."""
        call = attempt.call
        if (found := call.__dict__.get(KEY)) is None:
            return
        trace, parent = found
        span = Span(call.method, "client", parent.id)
        self._running[attempt] = trace, span
        carried = {"traceparent": trace.traceparent(span), **trace.carried}
        call.outgoing_headers.update(carried)
        call.outgoing_meta.update({name: Raw(msgspec.json.encode(value)) for name, value in carried.items()})

    def done(self, attempt: Attempt) -> None:
        """See `AttemptWatcher`."""
        if (found := self._running.pop(attempt, None)) is None:
            return
        trace, span = found
        span.end, error, reply = time_ns(), attempt.error, attempt.reply
        span.attributes = {
            "mcp.method.name": attempt.call.method,
            "toolway.upstream": attempt.upstream.name,
            "toolway.endpoint": attempt.endpoint.id,
            "toolway.attempt": attempt.number,
        }
        if attempt.is_hedge:
            span.attributes["toolway.hedge"] = True
        if error is not None:
            code = error.code if isinstance(error, ToolwayError) else type(error).__name__
            span.error, span.attributes["error.type"] = str(error), code
        elif reply is None:
            span.error, span.attributes["error.type"] = "cancelled", "cancelled"
        elif reply.fault is not None:
            span.error, span.attributes["error.type"] = reply.fault.message, str(reply.fault.code)
        trace.spans.append(span)


def _identify(request: Served, trace: Trace) -> None:
    request.trace_id, request.span_id = f"{trace.id:032x}", f"{trace.root.id:016x}"
    request.is_sampled = trace.is_sampled


def _failed(result: Raw) -> bool:
    try:
        return TOOL_RESULT.decode(result).is_error
    except msgspec.DecodeError:
        return False
