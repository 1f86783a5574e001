"""Sees who signs in and out, and who is refused."""

from __future__ import annotations

from collections.abc import Iterator

from toolway.hookspecs.telemetry import RequestWatcher, Served
from toolway.plugin import Clock
from toolway_audit.buffer import Buffer
from toolway_audit.recorder import came_with
from toolway_audit.writing import Event

REFUSALS = frozenset({401, 403})
MOST, WINDOW = 600, 60.0
"""Refusals that are kept in so many seconds: whoever is refused needs no credential. Others are counted."""


class Requests(RequestWatcher):
    """A watcher of requests; what is recorded of them waits in the buffer."""

    name = "audit"

    def __init__(self, buffer: Buffer, clock: Clock, *, sign_ins: bool, refusals: bool) -> None:
        self._buffer = buffer
        self._clock = clock
        self._sign_ins = sign_ins
        self._refusals = refusals
        self._window, self._seen = 0.0, 0

    def done(self, requests: Iterator[Served]) -> None:
        """Keep what counts."""
        for request in requests:
            self._look(request)

    def _look(self, request: Served) -> None:
        refused = request.status in REFUSALS
        if request.told is not None:
            if self._sign_ins:
                actor, action, subject = request.told
                self._add(request, Event(_end(request), action, subject, "refused" if refused else "ok", actor))
        elif self._refusals and refused:
            self._refuse(request)

    def _refuse(self, request: Served) -> None:
        if (now := self._clock.now()) - self._window >= WINDOW:
            self._window, self._seen = now, 0
        self._seen += 1
        if self._seen > MOST:
            self._buffer.lose(now)
            return
        actor = request.principal.id if request.principal is not None else ""
        event = Event(_end(request), "requests.refuse", request.route or "other", "refused", actor)
        event.details = {"verb": request.scope["method"], "status": request.status}
        if request.server:
            event.details["server"] = request.server
        self._add(request, event)

    def _add(self, request: Served, event: Event) -> None:
        came_with(event, request)
        self._buffer.add(event)


def _end(request: Served) -> float:
    return request.began + request.seconds


class ServerRequests(Requests):
    """The same for the endpoints of MCP: only requests with a server."""

    def done(self, requests: Iterator[Served]) -> None:
        """Keep refusals."""
        for request in requests:
            if request.server and request.status in REFUSALS:
                self._refuse(request)
