"""Counters and histograms of requests, calls and attempts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from toolway.hookspecs.routing import CALL_METHODS, Call
from toolway.hookspecs.telemetry import OUTCOMES, CallWatcher, Metrics, RequestWatcher, Served

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
STATUSES = ("0", *(str(each.value) for each in HTTPStatus))
VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


Alike = defaultdict[tuple[Any, ...], list[float]]
"""Durations in seconds by what they have in common: what is alike is counted together."""


class Requests(RequestWatcher):
    """By route, verb and status; 0 is a client that left before its answer."""

    name = "meters"

    def __init__(self, metrics: Metrics) -> None:
        by = {"route": None, "verb": VERBS}
        self._requests = metrics.counter("toolway_requests_total", "HTTP requests.", {**by, "status": STATUSES})
        self._seconds = metrics.histogram("toolway_request_seconds", "Time of HTTP requests.", SECONDS, by)

    def done(self, requests: Iterator[Served]) -> None:
        """Count them."""
        alike = Alike(list)
        for request in requests:
            alike[request.route, request.scope["method"], request.status].append(request.seconds)
        for what, seconds in alike.items():
            self._count(seconds, *what)

    def _count(self, seconds: list[float], route: str, verb: str, status: int) -> None:
        """Streams last as long as their client stays, so their time says nothing."""
        self._requests.add(len(seconds), route, verb, str(status))
        if verb != "GET" or route.startswith("/api/"):
            self._seconds.observe(seconds, route, verb)


class Calls(CallWatcher):
    """By method, server and upstream; tools also by name, as far as the catalog has them."""

    name = "meters"

    def __init__(self, metrics: Metrics) -> None:
        methods = sorted(CALL_METHODS)
        by = {"method": methods, "server": None, "upstream": None, "outcome": OUTCOMES}
        self._calls = metrics.counter("toolway_calls_total", "Calls of clients.", by)
        what, by = "Time of calls, waiting for slots and people included.", {"method": methods, "upstream": None}
        self._seconds = metrics.histogram("toolway_call_seconds", what, SECONDS, by)
        by = {"upstream": None, "tool": None, "outcome": OUTCOMES}
        self._tools = metrics.counter("toolway_tool_calls_total", "Calls of each tool.", by)
        self._attempts = Attempts(metrics)

    def done(self, calls: Iterator[Call]) -> None:
        """Count them; what was refused before its target was known has no upstream."""
        alike, tries = Alike(list), Alike(list)
        for call in calls:
            target = call.target
            upstream, name = (target.upstream, target.name) if target is not None else ("", None)
            alike[call.method, call.server, upstream, name, call.outcome].append(call.seconds)
            for attempt in call.attempts or ():
                outcome = "error" if attempt.error is not None else "cancelled" if attempt.reply is None else "ok"
                tries[attempt.upstream.name, outcome, attempt.number > 1].append(attempt.seconds)
        for what, seconds in alike.items():
            self._count(seconds, *what)
        for what, seconds in tries.items():
            self._attempts.count(seconds, *what)

    def _count(
        self, seconds: list[float], method: str, server: str, upstream: str, name: str | None, outcome: str
    ) -> None:
        self._calls.add(len(seconds), method, server, upstream, outcome)
        self._seconds.observe(seconds, method, upstream)
        if name is not None and method == "tools/call":
            self._tools.add(len(seconds), upstream, name, outcome)


class Attempts:
    """By upstream; `again` are those that repeat another one."""

    def __init__(self, metrics: Metrics) -> None:
        by = {"upstream": None, "outcome": ("ok", "error", "cancelled"), "again": ("yes", "no")}
        self._attempts = metrics.counter("toolway_attempts_total", "Tries of calls on endpoints.", by)
        self._seconds = metrics.histogram("toolway_attempt_seconds", "Time of tries.", SECONDS, {"upstream": None})

    def count(self, seconds: list[float], upstream: str, outcome: str, is_again: bool) -> None:
        """Count those that are over."""
        self._attempts.add(len(seconds), upstream, outcome, "yes" if is_again else "no")
        self._seconds.observe(seconds, upstream)
