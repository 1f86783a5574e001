"""Makes spans of what the gateway tells: a request, its calls, their attempts."""

from __future__ import annotations

from collections.abc import Callable
from random import randbytes, random

import msgspec
from msgspec import Raw

from toolway.hookspecs.attempts import Attempt, AttemptWatcher
from toolway.hookspecs.routing import Call, Reply
from toolway.hookspecs.telemetry import SERVED, CallWatcher, RequestWatcher, Served
from toolway_otel.attributes import root_of, spans_of
from toolway_otel.context import HEADERS, of_headers, of_meta, of_raw_meta
from toolway_otel.settings import OtelSettings
from toolway_otel.trace import KEPT, TRACE, Ended, InFlight, Span, Trace, is_passed_on, trace_of

AT_ONCE = 64
"""Requests whose ids are made, and whose sampling is decided, together."""

Keep = Callable[[Trace, list[Span]], None]


class Requests(RequestWatcher):
    """One trace per HTTP request; it is given to `keep` if it was sampled, failed or was slow."""

    name = "otel"

    def __init__(self, settings: OtelSettings, keep: Keep, served: InFlight) -> None:
        self._ratio, self._served = settings.sample_ratio, served
        self._keeps_errors, self._slow = settings.keep_errors, settings.keep_slower or float("inf")
        self._keep = keep
        self._ids: list[tuple[str, str, bool]] = []

    def begin(self, request: Served) -> None:
        """See `RequestWatcher`."""
        if not self._ids:
            digits = randbytes(24 * AT_ONCE).hex()
            ratio, places = self._ratio, range(0, len(digits), 48)
            self._ids = [(digits[each : each + 32], digits[each + 32 : each + 48], random() < ratio) for each in places]
        request.trace_id, request.span_id, request.is_sampled = self._ids.pop()
        self._served[request] = []
        if not request.fields.keys().isdisjoint(HEADERS):
            remote, carried = of_headers(request.fields)
            trace = request.__dict__[TRACE] = Trace(request.trace_id, request.span_id, request.is_sampled, carried)
            if remote is not None:
                trace.follow(remote, request)

    def done(self, request: Served) -> None:
        """See `RequestWatcher`."""
        calls = self._served.pop(request, ())
        if request.meta and b'"traceparent"' in request.meta and not trace_of(request).is_remote:
            remote, _ = of_raw_meta(request.meta)
            if remote is not None:
                trace_of(request).follow(remote, request)
        is_slow = request.seconds >= self._slow and not _is_stream(request)
        is_error = request.status >= 500 or request.error is not None
        for each in calls:
            is_error = is_error or each.call.outcome != "ok"
        if request.is_sampled or is_slow or (is_error and self._keeps_errors):
            trace, request.__dict__[KEPT] = trace_of(request), True
            self._keep(trace, [root_of(trace, request), *spans_of(trace, calls)])


class Calls(CallWatcher):
    """The span of a call, which is where the client's `_meta` is known too."""

    name = "otel"

    def __init__(self, settings: OtelSettings, keep: Keep, served: InFlight) -> None:
        self._keeps_errors, self._keep, self._served = settings.keep_errors, keep, served

    def begin(self, call: Call) -> None:
        """See `CallWatcher`."""
        if "traceparent" not in call.meta or (served := SERVED.get()) is None or not served.trace_id:
            return
        trace, (remote, carried) = trace_of(served), of_meta(call.meta)
        trace.carried = {**carried, **trace.carried}
        if remote is not None and not trace.is_remote:
            trace.follow(remote, served)
        elif remote is not None and remote.trace_id != trace.id:
            trace.links[call] = remote

    def done(self, call: Call, reply: Reply | None, seconds: float) -> None:
        """See `CallWatcher`."""
        served = call.served
        if served is None or not served.trace_id:
            return
        ended = Ended(call, reply, seconds, call.attempts or [])
        if (calls := self._served.get(served)) is not None:
            calls.append(ended)
        elif KEPT in served.__dict__ or (call.outcome != "ok" and self._keeps_errors):
            trace = trace_of(served)  # it waited for its client, who came back with another request
            self._keep(trace, spans_of(trace, [ended]))


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
        served = SERVED.get()
        if served is None or not served.trace_id:
            return
        if not (served.is_sampled or self._always or is_passed_on(served)):
            return
        call, trace = attempt.call, trace_of(served)
        carried = {"traceparent": trace.traceparent(attempt), **trace.carried}
        call.outgoing_headers.update(carried)
        call.outgoing_meta.update({name: Raw(msgspec.json.encode(value)) for name, value in carried.items()})


def _is_stream(request: Served) -> bool:
    """Whether it lasts as long as its client stays: then its time says nothing."""
    return request.method == "subscriptions/listen" or (
        request.scope["method"] == "GET" and not request.route.startswith("/api/")
    )
