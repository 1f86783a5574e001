"""Gives every request an id: taken or made, and returned."""

from __future__ import annotations

from collections.abc import Callable

from toolway.hookspecs.telemetry import RequestWatcher, Served
from toolway_json_logging.ids import HEADER, Uuids, is_fine


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
