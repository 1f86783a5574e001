"""Gives every request an id: taken or made, returned, passed to upstreams."""

from __future__ import annotations

from toolway.hookspecs.attempts import Attempt, AttemptWatcher
from toolway.hookspecs.telemetry import SERVED, RequestWatcher, Served
from toolway_json_logging.ids import HEADER, Uuids, is_fine

_NAME = HEADER.decode()


class Correlation(RequestWatcher):
    """Watches requests; one that brings a fine id keeps it if clients are trusted with that."""

    name = "json-logging"

    def __init__(self, *, trust: bool) -> None:
        self._trust = trust
        self._new = Uuids().new

    def begin(self, request: Served) -> None:
        """See `RequestWatcher`."""
        given = request.fields.get(HEADER)
        if given is not None and self._trust and is_fine(given):
            request.request_id = given.decode()
        else:
            request.request_id = self._new(request.began)
        request.headers.append((HEADER, request.request_id.encode()))


class Passing(AttemptWatcher):
    """Watches attempts: upstreams get the id of the request that a call belongs to, which gets the upstream's name."""

    name = "json-logging"

    def begin(self, attempt: Attempt) -> None:
        """See `AttemptWatcher`."""
        if (served := SERVED.get()) is None:
            return
        call = attempt.call
        if served.request_id:
            call.outgoing_headers[_NAME] = served.request_id
        if call.target is not None:
            served.upstream, served.item = call.target.upstream, call.target.name
