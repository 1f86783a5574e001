"""What is counted for whoever watches the gateway: calls that rules refused, and calls that were shed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from toolway.hookspecs.telemetry import Metrics
from toolway_rate_limit.limit import Limit
from toolway_rate_limit.overload import Overload
from toolway_rate_limit.shedder import Shedder


def count_refusals(metrics: Metrics, limits: Sequence[Limit]) -> None:
    """By rule; each is there from the beginning, so that its first refusal is seen to be one more."""
    counter = metrics.counter("toolway_rate_limit_refusals_total", "Calls that a rule refused.", {"rule": None})
    for limit in limits:
        counter.add(0, limit.rule.name)
        limit.told = partial(counter.add, 1, limit.rule.name)


def count_shed(metrics: Metrics, shedder: Shedder) -> None:
    """By priority."""
    by = {"priority": tuple(shedder.shed)}
    counter = metrics.counter("toolway_calls_shed_total", "Calls that were refused because of overload.", by)
    for priority in shedder.shed:
        counter.add(0, priority)
    shedder.told = lambda priority: counter.add(1, priority)


class OverloadGauge:
    """A service: it is read of the gateway that serves, not of one that is only built."""

    name = "rate-limit-overload"

    def __init__(self, metrics: Metrics, overload: Overload) -> None:
        self._metrics, self._overload = metrics, overload

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`."""
        what = "How much load has to go, from 0 to 1; of the worker that is worst off."
        self._metrics.sampled("toolway_overload_ratio", what, lambda: self._overload.level, largest=True)
        yield
