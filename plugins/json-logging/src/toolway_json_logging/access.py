"""The access log: which requests are told, and when."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Literal

import msgspec

from toolway.hookspecs.telemetry import RequestWatcher, Served

Phase = Literal["request", "stream begins"]
YOUNG = 1.0
"""Seconds after which an answer that goes on is a stream."""


class Access(msgspec.Struct, eq=False):
    """One line to be written: of a request that is over, or of an answer that turned out to be a stream."""

    at: float
    phase: Phase
    served: Served
    seconds: float


class AccessLog(RequestWatcher):
    """Watches requests: tells of those that are over, and of answers that turn out to be streams.

    Failures are told whatever the share of those that are fine. `in_flight` are the requests that are not over, and
    when they began (monotonic seconds).
    """

    name = "access-log"

    def __init__(
        self,
        tell: Callable[[Sequence[Served]], None],
        begun: Callable[[Access], None],
        now: Callable[[], float],
        monotonic: Callable[[], float],
        *,
        share: float,
        quiet: Collection[str],
    ) -> None:
        """`share` of the requests that are fine is told, none of the `quiet` paths."""
        self.in_flight: dict[Served, float] = {}
        self._tell, self._begun, self._now, self._monotonic = tell, begun, now, monotonic
        self._share, self._quiet = share, frozenset(quiet)

    def done(self, requests: Iterator[Served]) -> None:
        """See `RequestWatcher`."""
        told, in_flight, quiet, is_each = list[Served](), self.in_flight, self._quiet, self._share >= 1
        for request in requests:
            in_flight.pop(request, None)
            if (is_each and request.scope["path"] not in quiet) or self._is_chosen(request):
                told.append(request)
        self._tell(told)

    def look(self) -> None:
        """Tell of the answers that have become streams."""
        now = self._monotonic()
        for request, began in list(self.in_flight.items()):
            if now - began < YOUNG:
                break
            del self.in_flight[request]
            is_over = request.seconds > 0  # which is told soon
            if request.status and not is_over and self._is_chosen(request):
                self._begun(Access(self._now(), "stream begins", request, now - began))

    def _is_chosen(self, request: Served) -> bool:
        if request.error is not None or not 0 < request.status < 400:
            return True
        return request.scope["path"] not in self._quiet and random.random() < self._share
