"""Makes spans of what the gateway tells: a request, its calls, their attempts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import randbytes, random

import msgspec
from msgspec import Raw

from toolway.hookspecs.attempts import Attempt, AttemptWatcher
from toolway.hookspecs.routing import Call
from toolway.hookspecs.telemetry import CallWatcher, RequestWatcher, Served
from toolway_otel.attributes import root_of, spans_of
from toolway_otel.context import HEADERS, of_headers, of_meta, of_raw_meta
from toolway_otel.settings import OtelSettings
from toolway_otel.trace import KEPT, Span, Trace, trace_of

AT_ONCE = 64
"""Requests whose ids are made, and whose sampling is decided, together."""

Keep = Callable[[Trace, list[Span]], None]


class Requests(RequestWatcher):
    """One trace per HTTP request; it is given to `keep` if it was sampled, failed or was slow."""

    name = "otel"

    def __init__(self, settings: OtelSettings, keep: Keep) -> None:
        self._ratio, self._keeps_errors = settings.sample_ratio, settings.keep_errors
        self._slow = settings.keep_slower or float("inf")
        self._keep = keep
        self._ids: list[tuple[str, str, bool]] = []

    def begin(self, request: Served) -> None:
        """See `RequestWatcher`."""
        if not self._ids:
            self._ids = _made_ahead(self._ratio)
        request.trace_id, request.span_id, request.is_sampled = self._ids.pop()
        if not request.fields.keys().isdisjoint(HEADERS):
            remote, carried = of_headers(request.fields)
            trace = trace_of(request)
            trace.carried, request.is_followed = carried, bool(carried)
            if remote is not None:
                trace.follow(remote, request)

    def done(self, requests: Iterator[Served]) -> None:
        """See `RequestWatcher`."""
        slow = self._slow
        for request in requests:
            if not request.calls and request.meta and b'"traceparent"' in bytes(request.meta):
                _follow_meta(request)
            if request.is_sampled or request.status >= 500 or request.outcome != "ok" or request.seconds >= slow:
                self._look(request)

    def _look(self, request: Served) -> None:
        """It may be one to be kept."""
        is_error = request.status >= 500 or request.outcome != "ok"
        is_slow = request.seconds >= self._slow and not _is_stream(request)
        if request.is_sampled or is_slow or (is_error and self._keeps_errors):
            trace, request.__dict__[KEPT] = trace_of(request), True
            self._keep(trace, [root_of(trace, request), *spans_of(trace, request.calls or ())])


class Calls(CallWatcher):
    """The span of a call, which is where the client's `_meta` is known too."""

    name = "otel"

    def __init__(self, settings: OtelSettings, keep: Keep) -> None:
        self._keeps_errors, self._keep = settings.keep_errors, keep

    def begin(self, call: Call) -> None:
        """See `CallWatcher`."""
        if "traceparent" not in call.meta or (served := call.served) is None or not served.trace_id:
            return
        trace, (remote, carried) = trace_of(served), of_meta(call.meta)
        trace.carried = {**carried, **trace.carried}
        served.is_followed = served.is_followed or bool(carried)
        if remote is not None and not trace.is_remote:
            trace.follow(remote, served)
        elif remote is not None and remote.trace_id != trace.id:
            trace.links[call] = remote

    def done(self, calls: Iterator[Call]) -> None:
        """Keep those that waited for their clients, who came back with other requests."""
        for call in calls:
            served = call.served
            if served is None or served.calls is not None or not served.trace_id:
                continue
            if KEPT in served.__dict__ or (call.outcome != "ok" and self._keeps_errors):
                trace = trace_of(served)
                self._keep(trace, spans_of(trace, [call]))


class Attempts(AttemptWatcher):
    """Upstreams get the span of each attempt as their parent.

    A trace that begins here and is not sampled is only told of when `always`: nobody is going to see it, and headers
    that are the same for every call cost less.
    """

    name = "otel"

    def __init__(self, *, always: bool) -> None:
        self._always = always

    def begin(self, attempt: Attempt) -> None:
        """See `AttemptWatcher`."""
        served = attempt.call.served
        if served is None or not (served.is_sampled or served.is_followed or self._always) or not served.trace_id:
            return
        call, trace = attempt.call, trace_of(served)
        carried = {"traceparent": trace.traceparent(attempt), **trace.carried}
        call.outgoing_headers.update(carried)
        call.outgoing_meta.update({name: Raw(msgspec.json.encode(value)) for name, value in carried.items()})


def _made_ahead(ratio: float) -> list[tuple[str, str, bool]]:
    digits = randbytes(24 * AT_ONCE).hex()
    return [(digits[at : at + 32], digits[at + 32 : at + 48], random() < ratio) for at in range(0, len(digits), 48)]


def _follow_meta(request: Served) -> None:
    """One without a call, which would have been looked at when it began."""
    remote, _ = of_raw_meta(bytes(request.meta))
    if remote is not None and not trace_of(request).is_remote:
        trace_of(request).follow(remote, request)


def _is_stream(request: Served) -> bool:
    """Whether it lasts as long as its client stays: then its time says nothing."""
    return request.method == "subscriptions/listen" or (
        request.scope["method"] == "GET" and not request.route.startswith("/api/")
    )
