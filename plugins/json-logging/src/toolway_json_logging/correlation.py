"""Gives every request an id: taken or made, returned, passed to upstreams."""

from __future__ import annotations

from random import Random

from toolway.hookspecs.attempts import Attempt
from toolway.hookspecs.telemetry import SERVED, Served
from toolway.plugin import Clock
from toolway_json_logging.ids import GIVEN, is_fine, uuid7

HEADER = "x-request-id"
_HEADER = HEADER.encode()


class Correlation:
    """Watches requests; one that brings a fine id keeps it if clients are trusted with that."""

    name = "json-logging"

    def __init__(self, clock: Clock, *, trust: bool) -> None:
        self._now = clock.now
        self._trust = trust
        self._noise = Random()  # of this process: seeded by the system after workers were forked

    def begin(self, request: Served) -> None:
        """See `RequestWatcher`."""
        given = _given(request) if self._trust else None
        if given is None:
            request.request_id = uuid7(self._now(), self._noise)
            given = request.request_id.encode()
        else:
            request.request_id = given.decode()
            request.__dict__[GIVEN] = True
        request.headers.append((_HEADER, given))

    def done(self, request: Served) -> None:
        """See `RequestWatcher`."""


def _given(request: Served) -> bytes | None:
    """The one that it has, if it has one that is fine."""
    headers = request.scope["headers"]
    if _HEADER not in dict(headers):
        return None
    found: list[bytes] = [value for name, value in headers if name == _HEADER]
    return found[0] if len(found) == 1 and is_fine(found[0]) else None


class Passing:
    """Watches attempts: upstreams get the id of the request that a call belongs to, which gets the upstream's name."""

    name = "json-logging"

    def begin(self, attempt: Attempt) -> None:
        """See `AttemptWatcher`."""
        if (served := SERVED.get()) is None:
            return
        call = attempt.call
        if served.request_id:
            call.outgoing_headers[HEADER] = served.request_id
        if call.target is not None:
            served.upstream, served.item = call.target.upstream, call.target.name

    def done(self, attempt: Attempt) -> None:
        """See `AttemptWatcher`."""
