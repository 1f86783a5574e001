"""What is counted and read for whoever watches the gateway: circuits and ejections, by upstream and endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from toolway.hookspecs.telemetry import Metrics
from toolway.plugin import Clock
from toolway_breaker.breakers import Breakers, Watched

BY = {"upstream": None, "endpoint": None}


def measure(metrics: Metrics, breakers: Breakers, clock: Clock) -> None:
    """Each worker has circuits of its own: the totals say in how many of them it is so."""
    trips = metrics.counter("toolway_breaker_trips_total", "Circuits that opened.", BY)
    ejections = metrics.counter("toolway_breaker_ejections_total", "Endpoints that were ejected.", BY)
    breakers.tripped, breakers.ejected = partial(trips.add, 1), partial(ejections.add, 1)

    def is_open(one: Watched) -> bool:
        return not one.circuit.is_closed

    def is_ejected(one: Watched) -> bool:
        return one.ejection.is_on(clock.monotonic())

    what = "Workers in which the circuit is open or half-open."
    metrics.sampled("toolway_breaker_open", what, partial(_read, breakers, is_open), BY)
    what = "Workers in which the endpoint is ejected."
    metrics.sampled("toolway_breaker_ejected", what, partial(_read, breakers, is_ejected), BY)


def _read(breakers: Breakers, holds: Callable[[Watched], bool]) -> Mapping[tuple[str, ...], float]:
    """1 or 0 for each endpoint that was tried and is still there."""
    breakers.forget_gone()
    return {
        (upstream, endpoint): float(holds(one))
        for upstream, watch in breakers.watched.items()
        for endpoint, one in watch.endpoints.items()
    }
