"""The access log: which requests are told, and when."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from typing import Literal

import msgspec

from toolway.hookspecs.telemetry import Served

Phase = Literal["request", "stream begins"]
YOUNG = 1.0
"""Seconds after which an answer that goes on is a stream."""


class Access(msgspec.Struct, eq=False):
    """One line to be written: of a request that is over, or of an answer that turned out to be a stream."""

    at: float
    phase: Phase
    served: Served
    seconds: float


class AccessLog:
    """Watches requests. `tell` gets the lines; failures are told whatever the share of those that are fine."""

    name = "access-log"

    def __init__(
        self,
        tell: Callable[[Access], None],
        now: Callable[[], float],
        monotonic: Callable[[], float],
        *,
        share: float,
        quiet: Collection[str],
    ) -> None:
        """`share` of the requests that are fine is told, none of the `quiet` paths."""
        self._tell, self._now, self._monotonic = tell, now, monotonic
        self._share, self._quiet = share, frozenset(quiet)
        self._young: dict[Served, float] = {}

    def begin(self, request: Served) -> None:
        """See `RequestWatcher`."""
        self._young[request] = self._monotonic()

    def done(self, request: Served) -> None:
        """See `RequestWatcher`."""
        self._young.pop(request, None)
        if self._wants(request):
            self._tell(Access(request.began + request.seconds, "request", request, request.seconds))

    def look(self) -> None:
        """Tell of the answers that have become streams."""
        now = self._monotonic()
        for request, began in list(self._young.items()):
            if now - began < YOUNG:
                break
            del self._young[request]
            if request.status and self._wants(request):
                self._tell(Access(self._now(), "stream begins", request, now - began))

    def _wants(self, request: Served) -> bool:
        if request.error is not None or not 0 < request.status < 400:
            return True
        if request.scope["path"] in self._quiet:
            return False
        return self._share >= 1 or random.random() < self._share
