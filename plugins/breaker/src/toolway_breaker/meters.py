"""What is counted and read for whoever watches the gateway: circuits and ejections, by upstream and endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

from toolway.hookspecs.telemetry import Metrics
from toolway.plugin import Clock
from toolway_breaker.breakers import Breakers, Watched

BY = {"upstream": None, "endpoint": None}


class Meters:
    """A service: gauges are read of the gateway that serves, not of one that is only built.

    Each worker has circuits of its own: the totals say in how many of them it is so.
    """

    name = "breaker-meters"

    def __init__(self, metrics: Metrics, breakers: Breakers, clock: Clock) -> None:
        self._metrics, self._breakers, self._clock = metrics, breakers, clock
        trips = metrics.counter("toolway_breaker_trips_total", "Circuits that opened.", BY)
        ejections = metrics.counter("toolway_breaker_ejections_total", "Endpoints that were ejected.", BY)
        breakers.tripped, breakers.ejected = partial(trips.add, 1), partial(ejections.add, 1)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`."""
        what = "Workers in which the circuit is open or half-open."
        self._metrics.sampled("toolway_breaker_open", what, partial(self._read, _is_open), BY)
        what = "Workers in which the endpoint is ejected."
        self._metrics.sampled("toolway_breaker_ejected", what, partial(self._read, self._is_ejected), BY)
        yield

    def _is_ejected(self, one: Watched) -> bool:
        return one.ejection.is_on(self._clock.monotonic())

    def _read(self, holds: Callable[[Watched], bool]) -> Mapping[tuple[str, ...], float]:
        """1 or 0 for each endpoint that was tried and is still there."""
        self._breakers.forget_gone()
        return {
            (upstream, endpoint): float(holds(one))
            for upstream, watch in self._breakers.watched.items()
            for endpoint, one in watch.endpoints.items()
        }


def _is_open(one: Watched) -> bool:
    return not one.circuit.is_closed
