"""Makes spans of what the gateway tells: a request, its calls, their attempts."""

from __future__ import annotations

from collections.abc import Callable
from time import time_ns

import msgspec
from msgspec import Raw

from toolway.hookspecs.attempts import Attempt
from toolway.hookspecs.routing import Call, Reply
from toolway.hookspecs.telemetry import SERVED, Served, outcome_of
from toolway_otel.attributes import root_of, spans_of
from toolway_otel.context import of_headers, of_meta, of_raw_meta
from toolway_otel.settings import OtelSettings
from toolway_otel.trace import KEY, Ended, Span, Trace, begin

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
        trace.is_over = True
        if not trace.is_remote and request.meta:
            remote, _ = of_raw_meta(request.meta)
            if remote is not None:
                trace.follow(remote)
        is_error = request.status >= 500 or request.error is not None
        is_slow = request.seconds >= self._slow and not _is_stream(request)
        trace.is_kept = trace.is_sampled or (self._keeps_errors and (is_error or trace.failed)) or is_slow
        if trace.is_kept:
            self._keep(trace, [root_of(trace, request), *spans_of(trace)])


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
        if "traceparent" in call.meta:
            remote, carried = of_meta(call.meta)
            trace.carried = {**carried, **trace.carried}
            if remote is not None and not trace.is_remote:
                trace.follow(remote)
                _identify(served, trace)
            elif remote is not None and remote.trace_id != trace.id:
                trace.links[call] = remote
        call.__dict__[KEY] = trace, time_ns()

    def done(self, call: Call, reply: Reply | None, seconds: float) -> None:
        """See `CallWatcher`."""
        found: tuple[Trace, int] | None = call.__dict__.pop(KEY, None)
        if found is None:
            return
        trace, began = found
        if outcome_of(call.method, reply) != "ok":
            trace.failed = True
        trace.ended.append(Ended(call, began, time_ns(), reply))
        if trace.is_over:  # it waited for its client, who came back with another request
            spans = spans_of(trace)
            if trace.is_kept or (trace.failed and self._keeps_errors):
                self._keep(trace, spans)


class Attempts:
    """The span of each attempt, which the upstream gets as its parent.

    A trace that begins here and is not sampled is only told of when `always`: nobody is going to see it, and headers
    that are the same for every call cost less.
    """

    name = "otel"

    def __init__(self, *, always: bool) -> None:
        self._always = always

    def begin(self, attempt: Attempt) -> None:
        """See `AttemptWatcher`."""
        call = attempt.call
        found: tuple[Trace, int] | None = call.__dict__.get(KEY)
        if found is None:
            return
        trace, _ = found
        if not (trace.is_sampled or trace.is_remote or trace.carried or self._always):
            return
        carried = {"traceparent": trace.traceparent(attempt), **trace.carried}
        call.outgoing_headers.update(carried)
        call.outgoing_meta.update({name: Raw(msgspec.json.encode(value)) for name, value in carried.items()})

    def done(self, attempt: Attempt) -> None:
        """See `AttemptWatcher`."""
        found: tuple[Trace, int] | None = attempt.call.__dict__.get(KEY)
        if found is not None:
            now = time_ns()
            found[0].ended.append(Ended(attempt, now - int(attempt.seconds * 1e9), now))


def _identify(request: Served, trace: Trace) -> None:
    request.trace_id, request.span_id = trace.id, trace.root
    request.is_sampled = trace.is_sampled


def _is_stream(request: Served) -> bool:
    """Whether it lasts as long as its client stays: then its time says nothing."""
    return request.method == "subscriptions/listen" or (
        request.scope["method"] == "GET" and not request.route.startswith("/api/")
    )
