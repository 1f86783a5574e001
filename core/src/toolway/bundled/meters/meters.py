"""Counters and histograms of requests, calls and attempts."""

from __future__ import annotations

from http import HTTPStatus

from toolway.hookspecs.attempts import Attempt
from toolway.hookspecs.routing import CALL_METHODS, Call, Reply
from toolway.hookspecs.telemetry import OUTCOMES, CallWatcher, Metrics, RequestWatcher, Served

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
STATUSES = ("0", *(str(each.value) for each in HTTPStatus))
VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


class Requests(RequestWatcher):
    """By route, verb and status; 0 is a client that left before its answer."""

    name = "meters"

    def __init__(self, metrics: Metrics) -> None:
        by = {"route": None, "verb": VERBS}
        self._count = metrics.counter("toolway_requests_total", "HTTP requests.", {**by, "status": STATUSES})
        self._seconds = metrics.histogram("toolway_request_seconds", "Time of HTTP requests.", SECONDS, by)

    def done(self, request: Served) -> None:
        """Count it; streams last as long as their client stays, so their time says nothing."""
        verb = request.scope["method"]
        self._count.add(1, request.route, verb, str(request.status))
        if verb != "GET" or request.route.startswith("/api/"):
            self._seconds.observe(request.seconds, request.route, verb)


class Calls(CallWatcher):
    """By method, server and upstream; tools also by name, as far as the catalog has them."""

    name = "meters"

    def __init__(self, metrics: Metrics) -> None:
        methods = sorted(CALL_METHODS)
        by = {"method": methods, "server": None, "upstream": None, "outcome": OUTCOMES}
        self._count = metrics.counter("toolway_calls_total", "Calls of clients.", by)
        what, by = "Time of calls, waiting for slots and people included.", {"method": methods, "upstream": None}
        self._seconds = metrics.histogram("toolway_call_seconds", what, SECONDS, by)
        by = {"upstream": None, "tool": None, "outcome": OUTCOMES}
        self._attempts = Attempts(metrics)
        self._tools = metrics.counter("toolway_tool_calls_total", "Calls of each tool.", by)

    def done(self, call: Call, reply: Reply | None, seconds: float) -> None:
        """Count it; what was refused before its target was known has no upstream."""
        outcome, target = call.outcome, call.target
        upstream = target.upstream if target is not None else ""
        self._count.add(1, call.method, call.server, upstream, outcome)
        self._seconds.observe(seconds, call.method, upstream)
        if target is not None and call.method == "tools/call":
            self._tools.add(1, upstream, target.name, outcome)
        for attempt in call.attempts or ():
            self._attempts.count(attempt)


class Attempts:
    """By upstream; `again` are those that repeat another one."""

    def __init__(self, metrics: Metrics) -> None:
        by = {"upstream": None, "outcome": ("ok", "error", "cancelled"), "again": ("yes", "no")}
        self._count = metrics.counter("toolway_attempts_total", "Tries of calls on endpoints.", by)
        self._seconds = metrics.histogram("toolway_attempt_seconds", "Time of tries.", SECONDS, {"upstream": None})

    def count(self, attempt: Attempt) -> None:
        """Count one that is over."""
        upstream, again = attempt.upstream.name, "yes" if attempt.number > 1 else "no"
        outcome = "error" if attempt.error is not None else "cancelled" if attempt.reply is None else "ok"
        self._count.add(1, upstream, outcome, again)
        self._seconds.observe(attempt.seconds, upstream)
