"""Makes spans of what the gateway tells: a request, its calls, their attempts."""

from __future__ import annotations

from collections.abc import Callable
from time import time_ns

import msgspec
from msgspec import Raw

from toolway.hookspecs.attempts import Attempt
from toolway.hookspecs.routing import Call, Reply
from toolway.hookspecs.telemetry import SERVED, Served, outcome_of
from toolway_otel.attributes import describe_request, described
from toolway_otel.context import of_headers, of_meta, of_raw_meta
from toolway_otel.settings import OtelSettings
from toolway_otel.trace import KEY, Span, Trace, begin, span as trace_span

Keep = Callable[[Trace, list[Span]], None]


class Requests:
    """One trace per HTTP request; it is given to `keep` if it was sampled, failed or was slow."""

    name = "otel"

    def __init__(self, settings: OtelSettings, keep: Keep) -> None:
        self._ratio = settings.sample_ratio
        self._keeps_errors, self._slow = settings.keep_errors, settings.keep_slower or float("inf")
        self._keep = keep

    def begin(self, request: Served) -> None:
        """See `RequestWatcher`."""
        remote, carried = of_headers(request.scope["headers"])
        trace = request.__dict__[KEY] = begin(remote, carried, self._ratio)
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
        is_slow = request.seconds >= self._slow and not _is_stream(request)
        trace.is_kept = trace.is_sampled or (self._keeps_errors and (is_error or trace.failed)) or is_slow
        if not trace.is_kept:
            return
        root.end = time_ns()
        describe_request(root, request)
        spans, trace.spans = trace.spans, []
        self._keep(trace, [root, *map(described, spans)])


class Calls:
    """The span of a call, which is where the client's `_meta` is known too."""

    name = "otel"

    def __init__(self, settings: OtelSettings, keep: Keep) -> None:
        self._keeps_errors, self._keep = settings.keep_errors, keep

    def begin(self, call: Call) -> None:
        """See `CallWatcher`."""
        served = SERVED.get()
        if served is None or (trace := served.__dict__.get(KEY)) is None:
            return
        span = trace_span("server", trace.root)
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
        span.end, span.of = time_ns(), (call, reply)
        if outcome_of(call.method, reply) != "ok":
            trace.failed = True
        trace.spans.append(span)
        if trace.is_over:  # it waited for its client, who came back with another request
            spans, trace.spans = trace.spans, []
            if trace.is_kept or (trace.failed and self._keeps_errors):
                self._keep(trace, [described(each) for each in spans])


class Attempts:
    """The span of each attempt, which the upstream gets as its parent.

    A trace that begins here and is not sampled is only told of when `always`: nobody is going to see it, and headers
    that are the same for every call cost less.
    """

    name = "otel"

    def __init__(self, *, always: bool) -> None:
        self._always = always
        self._running: dict[Attempt, tuple[Trace, Span]] = {}

    def begin(self, attempt: Attempt) -> None:
        """See `AttemptWatcher`."""
        call = attempt.call
        if (found := call.__dict__.get(KEY)) is None:
            return
        trace, parent = found
        span = trace_span("client", parent)
        self._running[attempt] = trace, span
        if not (trace.is_sampled or trace.is_remote or trace.carried or self._always):
            return
        carried = {"traceparent": trace.traceparent(span), **trace.carried}
        call.outgoing_headers.update(carried)
        call.outgoing_meta.update({name: Raw(msgspec.json.encode(value)) for name, value in carried.items()})

    def done(self, attempt: Attempt) -> None:
        """See `AttemptWatcher`."""
        if (found := self._running.pop(attempt, None)) is not None:
            trace, span = found
            span.end, span.of = time_ns(), attempt
            trace.spans.append(span)


def _identify(request: Served, trace: Trace) -> None:
    request.trace_id, request.span_id = trace.id, trace.root.id
    request.is_sampled = trace.is_sampled


def _is_stream(request: Served) -> bool:
    """Whether it lasts as long as its client stays: then its time says nothing."""
    return request.method == "subscriptions/listen" or (
        request.scope["method"] == "GET" and not request.route.startswith("/api/")
    )
