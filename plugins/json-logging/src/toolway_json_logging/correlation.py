"""Gives every request an id: taken or made, returned, passed to upstreams."""

from __future__ import annotations

from collections.abc import Callable

from toolway.hookspecs.attempts import Attempt, AttemptWatcher
from toolway.hookspecs.telemetry import RequestWatcher, Served
from toolway_json_logging.ids import HEADER, Uuids, is_fine

_NAME = HEADER.decode()


class Correlation(RequestWatcher):
    """Watches requests; one that brings a fine id keeps it if clients are trusted with that."""

    name = "json-logging"

    def __init__(self, in_flight: dict[Served, float] | None, monotonic: Callable[[], float], *, trust: bool) -> None:
        """`in_flight` gets each request and when it began, if there is one."""
        self._in_flight, self._monotonic, self._trust = in_flight, monotonic, trust
        self._new = Uuids().new

    def begin(self, request: Served) -> None:
        """See `RequestWatcher`."""
        if self._in_flight is not None:
            self._in_flight[request] = self._monotonic()
        given = request.fields.get(HEADER)
        if given is not None and self._trust and is_fine(given):
            request.request_id = given.decode()
        else:
            new = self._new
            request.request_id = new(request.began)
        request.headers.append((HEADER, request.request_id.encode()))


class Passing(AttemptWatcher):
    """Watches attempts: upstreams get the id of the request that a call belongs to."""

    name = "json-logging"

    def begin(self, attempt: Attempt) -> None:
        """See `AttemptWatcher`."""
        call = attempt.call
        if call.served is not None and call.served.request_id:
            call.outgoing_headers[_NAME] = call.served.request_id
