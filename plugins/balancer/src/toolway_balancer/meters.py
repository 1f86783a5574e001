"""What is counted and read for whoever watches the gateway: the health of endpoints that have others beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

from toolway.hookspecs.telemetry import Metrics
from toolway_balancer.balancer import AdaptiveBalancer

BY = {"upstream": None, "endpoint": None}


class Meters:
    """A service: gauges are read of the gateway that serves, not of one that is only built.

    Each worker judges for itself: the gauge says how many of them avoid the endpoint.
    """

    name = "balancer-meters"

    def __init__(self, metrics: Metrics, balancer: AdaptiveBalancer) -> None:
        self._metrics, self._balancer = metrics, balancer
        falls = metrics.counter("toolway_balancer_ejections_total", "Endpoints that became unhealthy.", BY)
        balancer.fell = partial(falls.add, 1)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`."""
        what = "Workers for which the endpoint is unhealthy."
        self._metrics.sampled("toolway_balancer_unhealthy", what, self._unhealthy, BY)
        yield

    def _unhealthy(self) -> Mapping[tuple[str, ...], float]:
        return {
            (upstream, endpoint): float(not replica.is_healthy)
            for upstream, pool in self._balancer.pools.items()
            if pool.is_judged
            for endpoint, replica in pool.replicas.items()
        }
