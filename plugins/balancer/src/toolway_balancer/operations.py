"""`/api/v1/endpoints`: what the balancer of this node knows of each endpoint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, Field

from toolway.hookspecs.api import Incoming, Operation, Page, PageQuery, listing
from toolway.plugin import Kernel
from toolway_balancer.balancer import AdaptiveBalancer
from toolway_balancer.pool import Pool
from toolway_balancer.replica import Replica
from toolway_balancer.settings import BalancerSettings, StrategyName

PERMISSION = "upstreams:read"


class EndpointState(BaseModel):
    """One endpoint of an upstream as this node sees it."""

    name: str = Field(description="The upstream.")
    endpoint: str = Field(description="The URL of the endpoint.")
    strategy: StrategyName = Field(description="How endpoints of the upstream are chosen.")
    health: Literal["healthy", "unhealthy"] = Field(description="What health checks and calls show.")
    used: bool = Field(description="Whether calls go there: unhealthy ones are used only when too many are.")
    reason: str = Field(description="Why it became healthy or unhealthy; empty if it always was healthy.")
    seconds_ago: float | None = Field(description="How long ago that was.")
    latency_ms: float | None = Field(description="Peak EWMA of its answers; null before the first one.")
    in_flight: int = Field(description="Calls that wait for its answer.")
    weight: float = Field(description="Its weight in the settings.")
    share: float = Field(description="The part of the weight that it has now: less than 1 in the slow start.")
    faults: float = Field(description="Faults of calls that are not forgotten; each doubles what a call costs.")
    attempts: int = Field(description="Calls that were sent there.")


class Operations:
    """What the API offers."""

    name = "balancer"

    def __init__(self, balancer: AdaptiveBalancer, kernel: Kernel, settings: BalancerSettings) -> None:
        self._balancer = balancer
        self._clock, self._redact = kernel.clock, kernel.redact
        self._settings = settings

    def operations(self) -> Iterable[Operation]:
        """The one operation."""
        answer = Page[EndpointState]
        return [
            Operation("GET", "/api/v1/endpoints", PERMISSION, self.list, query=PageQuery, answer=answer, filters=True)
        ]

    async def list(self, incoming: Incoming) -> Page[EndpointState]:
        """List the endpoints of upstreams with health, latency, calls in flight and weight on this node."""
        every = {
            f"{name}\n{each}": (pool, replica)
            for name, pool in self._balancer.pools.items()
            for each, replica in pool.replicas.items()
        }
        return listing(incoming, PERMISSION, every, self._shown)

    async def collect(self) -> Sequence[EndpointState]:
        """See `Diagnostic`."""
        return [self._shown((pool, each)) for pool in self._balancer.pools.values() for each in pool.replicas.values()]

    def _shown(self, known: tuple[Pool, Replica]) -> EndpointState:
        (pool, replica), now = known, self._clock.monotonic()
        return EndpointState(
            name=pool.upstream.name,
            endpoint=replica.endpoint.id,
            strategy=self._settings.strategy_of(pool.upstream.name),
            health="healthy" if replica.is_healthy else "unhealthy",
            used=replica in pool.preferred,
            reason=self._redact(replica.reason),
            seconds_ago=round(now - replica.changed, 1) if replica.reason else None,
            latency_ms=None if replica.is_new else round(replica.latency(now) * 1000, 3),
            in_flight=replica.in_flight,
            weight=replica.weight,
            share=round(replica.share(now), 3),
            faults=round(replica.faults_now(now), 2),
            attempts=replica.attempts,
        )
