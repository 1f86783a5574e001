"""Traces to look at: of the last call that took about so long, for each bucket of the times of calls."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from toolway.hookspecs.routing import Call
from toolway.hookspecs.telemetry import CallWatcher
from toolway.plugin import Clock

CALLS = "toolway_call_seconds"
"""The histogram that has them; its labels are the method and the upstream."""
MOST = 1_000
"""Series that have some; there is one per bucket."""


class Exemplar(NamedTuple):
    """A value and its trace; `at` is seconds since 1970."""

    trace_id: str
    value: float
    at: float


class Exemplars(CallWatcher):
    """A watcher of calls; each worker knows of its own calls only.

    It does nothing without traces, and as long as nobody asked: `bounds` are not known before.
    """

    name = "prometheus"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.bounds: Sequence[float] = ()
        self._last: dict[tuple[str, ...], dict[int, Exemplar]] = {}

    def done(self, calls: Iterator[Call]) -> None:
        """Remember their traces in place of those before."""
        for call in calls:
            served = call.served
            if served is not None and served.is_sampled and served.trace_id and self.bounds:
                self._remember(call, served.trace_id)

    def _remember(self, call: Call, trace_id: str) -> None:
        labels = call.method, call.target.upstream if call.target is not None else ""
        buckets = self._last.get(labels)
        if buckets is None:
            if len(self._last) >= MOST:
                return
            buckets = self._last[labels] = {}
        buckets[bisect_left(self.bounds, call.seconds)] = Exemplar(trace_id, call.seconds, self._clock.now())

    def of(self, name: str, labels: tuple[str, ...]) -> Mapping[int, Exemplar]:
        """Those of one series, by the number of the bucket."""
        return self._last.get(labels, {}) if name == CALLS else {}
