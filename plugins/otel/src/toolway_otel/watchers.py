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
from toolway_otel.trace import CALLS, FAILED, KEPT, TRACE, Ended, Span, Trace, is_passed_on, trace_of

AT_ONCE = 64
"""Requests whose ids are made, and whose sampling is decided, together."""

Keep = Callable[[Trace, list[Span]], None]


class Requests(RequestWatcher):
    """One trace per HTTP request; it is given to `keep` if it was sampled, failed or was slow."""

    name = "otel"

    def __init__(self, settings: OtelSettings, keep: Keep) -> None:
        self._ratio = settings.sample_ratio
        self._keeps_errors, self._slow = settings.keep_errors, settings.keep_slower or float("inf")
        self._keep = keep
        self._ids: list[tuple[str, str, bool]] = []

    def begin(self, request: Served) -> None:
        """See `RequestWatcher`."""
        if not self._ids:
            digits = randbytes(24 * AT_ONCE).hex()
            parts = [digits[each : each + 48] for each in range(0, len(digits), 48)]
            self._ids = [(each[:32], each[32:], random() < self._ratio) for each in parts]
        request.trace_id, request.span_id, request.is_sampled = self._ids.pop()
        if not request.fields.keys().isdisjoint(HEADERS):
            remote, carried = of_headers(request.fields)
            trace = request.__dict__[TRACE] = Trace(request.trace_id, request.span_id, request.is_sampled, carried)
            if remote is not None:
                trace.follow(remote, request)

    def done(self, request: Served) -> None:
        """See `RequestWatcher`."""
        known = request.__dict__
        calls: list[Ended] = known.pop(CALLS, ())
        if request.meta and b'"traceparent"' in request.meta and not trace_of(request).is_remote:
            remote, _ = of_raw_meta(request.meta)
            if remote is not None:
                trace_of(request).follow(remote, request)
        is_slow = request.seconds >= self._slow and not _is_stream(request)
        is_error = self._keeps_errors and (request.status >= 500 or request.error is not None or FAILED in known)
        known[KEPT] = is_kept = request.is_sampled or is_error or is_slow
        if is_kept:
            trace = trace_of(request)
            self._keep(trace, [root_of(trace, request), *spans_of(trace, calls)])


class Calls(CallWatcher):
    """The span of a call, which is where the client's `_meta` is known too."""

    name = "otel"

    def __init__(self, settings: OtelSettings, keep: Keep) -> None:
        self._keeps_errors, self._keep = settings.keep_errors, keep

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
        known, ended = served.__dict__, Ended(call, reply, seconds, call.attempts or [])
        if call.outcome != "ok":
            known[FAILED] = True
        if (is_kept := known.get(KEPT)) is None:
            known.setdefault(CALLS, []).append(ended)
        else:  # it waited for its client, who came back with another request
            trace = trace_of(served)
            if is_kept or (call.outcome != "ok" and self._keeps_errors):
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
