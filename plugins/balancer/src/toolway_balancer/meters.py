"""What is counted and read for whoever watches the gateway: the health of endpoints that have others beside them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from toolway.hookspecs.telemetry import Metrics
from toolway_balancer.balancer import AdaptiveBalancer

BY = {"upstream": None, "endpoint": None}


def measure(metrics: Metrics, balancer: AdaptiveBalancer) -> None:
    """Each worker judges for itself: the gauge says how many of them avoid the endpoint."""
    falls = metrics.counter("toolway_balancer_ejections_total", "Endpoints that became unhealthy.", BY)
    balancer.fell = partial(falls.add, 1)
    what = "Workers for which the endpoint is unhealthy."
    metrics.sampled("toolway_balancer_unhealthy", what, partial(_unhealthy, balancer), BY)


def _unhealthy(balancer: AdaptiveBalancer) -> Mapping[tuple[str, ...], float]:
    return {
        (upstream, endpoint): float(not replica.is_healthy)
        for upstream, pool in balancer.pools.items()
        if pool.is_judged
        for endpoint, replica in pool.replicas.items()
    }
