"""Names and attributes of spans, found out once it is known that they are kept.

They are those of the OpenTelemetry conventions for MCP (semantic-conventions-genai, docs/gen-ai/mcp.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from time import monotonic_ns, time_ns

from toolway.hookspecs.attempts import Attempt
from toolway.hookspecs.routing import Call, Reply
from toolway.hookspecs.telemetry import Served
from toolway.plugin import ToolwayError
from toolway_otel.trace import Span, Trace

TARGETS = {"tools/call": "gen_ai.tool.name", "prompts/get": "gen_ai.prompt.name", "resources/read": "mcp.resource.uri"}


def spans_of(trace: Trace, calls: Iterable[Call]) -> list[Span]:
    """The spans of calls and their attempts."""
    since = time_ns() - monotonic_ns()
    return [span for each in calls for span in _spans(trace, each, since)]


def _spans(trace: Trace, call: Call, since: int) -> Iterator[Span]:
    """`since` is when monotonic time began, in nanoseconds since 1970."""
    for attempt in call.attempts or ():
        span = Span("client", trace.id_of(call), trace.id_of(attempt), *_times(attempt.ended, attempt.seconds, since))
        _describe_attempt(span, attempt)
        yield span
    times = _times(call.ended, call.seconds, since)
    span = Span("server", trace.root, trace.id_of(call), *times, link=trace.links.get(call))
    _describe_call(span, call)
    yield span


def _times(end: float, seconds: float, since: int) -> tuple[int, int]:
    last = since + int(end * 1e9)
    return last - int(seconds * 1e9), last


def root_of(trace: Trace, request: Served) -> Span:
    """The span of the whole HTTP request, which is over now (OpenTelemetry conventions for HTTP servers)."""
    start = int(request.began * 1e9)
    span = Span("server", trace.parent, trace.root, start, start + int(request.seconds * 1e9))
    _describe_request(span, request)
    return span


def _describe_request(span: Span, request: Served) -> None:
    scope, error = request.scope, request.error
    span.name = f"{scope['method']} {request.route}" if request.route else scope["method"]
    known = {
        "http.request.method": scope["method"],
        "http.response.status_code": request.status,
        "network.protocol.version": scope["http_version"],
        "url.scheme": scope["scheme"],
        "http.route": request.route,
        "client.address": (scope.get("client") or ("",))[0],
        "mcp.method.name": request.method,
        "toolway.server": request.server,
        "toolway.principal": request.principal.id if request.principal is not None else "",
        "toolway.request_id": request.request_id,
    }
    span.attributes = {name: value for name, value in known.items() if value}
    if request.identified:
        span.events = [("authenticated", request.identified)]
    if error is not None or request.status >= 500:
        span.error = type(error).__name__ if error is not None else ""
        span.attributes["error.type"] = span.error or str(request.status)


def _describe_call(span: Span, call: Call) -> None:
    target, span.name = call.target, call.method
    span.attributes = {"mcp.method.name": call.method, "mcp.protocol.version": call.client.version}
    if call.answered_by:
        span.attributes["toolway.answered_by"] = call.answered_by
    if call.session:
        span.attributes["mcp.session.id"] = call.session
    if target is not None:
        span.attributes["toolway.upstream"] = target.upstream
        if (name := TARGETS.get(call.method)) is not None:
            span.attributes[name] = target.name
            if call.method != "resources/read":  # URIs are too many for names
                span.name = f"{call.method} {target.name}"
    if call.method == "tools/call":
        span.attributes["gen_ai.operation.name"] = "execute_tool"
        if call.outcome == "tool_error":
            _fail(span, "the tool says so", "tool_error")
    _judge(span, call.reply)


def _describe_attempt(span: Span, attempt: Attempt) -> None:
    span.name, error = attempt.call.method, attempt.error
    span.attributes = {
        "mcp.method.name": attempt.call.method,
        "toolway.upstream": attempt.upstream.name,
        "toolway.endpoint": attempt.endpoint.id,
        "toolway.attempt": attempt.number,
    }
    if attempt.is_hedge:
        span.attributes["toolway.hedge"] = True
    if error is None:
        _judge(span, attempt.reply)
    else:
        _fail(span, str(error), error.code if isinstance(error, ToolwayError) else type(error).__name__)


def _judge(span: Span, reply: Reply | None) -> None:
    if reply is None:
        _fail(span, "cancelled", "cancelled")
    elif reply.fault is not None:
        _fail(span, reply.fault.message, str(reply.fault.code))
        span.attributes["rpc.response.status_code"] = str(reply.fault.code)


def _fail(span: Span, description: str, kind: str) -> None:
    span.error, span.attributes["error.type"] = description, kind
