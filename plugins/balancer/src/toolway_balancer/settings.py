"""The settings: how endpoints are chosen and checked, in general and for each upstream."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from toolway.plugin import Name, Seconds, Settings

StrategyName = Literal["peak-ewma", "least-request", "round-robin", "weighted", "hash"]
Weight = Annotated[float, Field(ge=0, le=1000)]
HashKey = Annotated[str, Field(pattern=r"^(principal|session|header:[!#$%&'*+.^_`|~0-9A-Za-z-]+|meta:[^\s]+)$")]


class UpstreamRule(Settings):
    """How the endpoints of one upstream are chosen."""

    strategy: StrategyName | None = Field(None, description="Left out, the one of `[plugins.balancer]`.")
    weights: dict[str, Weight] = Field(
        {}, description="Weight of endpoints by URL, 1 if left out; one of 0 gets calls only when there is no other."
    )
    key: HashKey = Field(
        "principal",
        description="What `hash` keeps together: `principal`, `session`, `meta:<key>` of the request's `_meta`, or "
        "`header:<name>` of the headers that middleware sends along.",
    )


class BalancerSettings(Settings):
    """The strategy, its parameters, and the health checks; durations are seconds."""

    strategy: StrategyName = Field("peak-ewma", description="How endpoints are chosen where an upstream says nothing.")
    upstreams: dict[Name, UpstreamRule] = Field({}, description="By name of the upstream.")
    decay: Seconds = Field(10.0, gt=0, description="How slowly a peak of latency, or a fault, is forgotten.")
    default_rtt: Seconds = Field(0.03, gt=0, description="Latency of an endpoint that never answered.")
    slow_start: Seconds = Field(
        30.0, description="How long an endpoint that was added or became healthy gets less than its part; 0 is off."
    )
    health_interval: Seconds = Field(10.0, gt=0, description="Between health checks of one endpoint.")
    health_jitter: float = Field(0.2, ge=0, lt=1, description="Part by which the interval varies at random.")
    health_timeout: Seconds = Field(2.0, gt=0, description="How long a health check may take.")
    health_concurrency: int = Field(16, ge=1, le=1000, description="Health checks of this node at the same time.")
    healthy_after: int = Field(2, ge=1, le=100, description="Good checks in a row until an endpoint is healthy.")
    unhealthy_after: int = Field(3, ge=1, le=100, description="Bad checks in a row until it is unhealthy.")
    fault_limit: int = Field(5, ge=1, le=1000, description="Faults of calls in a row until it is unhealthy.")
    panic: float = Field(
        0.5, ge=0, le=1, description="If more than this part of the endpoints is unhealthy, all of them are used."
    )

    def rule(self, upstream: str) -> UpstreamRule:
        """What holds for an upstream."""
        return self.upstreams.get(upstream, DEFAULT_RULE)

    def strategy_of(self, upstream: str) -> StrategyName:
        """The strategy of an upstream."""
        return self.rule(upstream).strategy or self.strategy


DEFAULT_RULE = UpstreamRule()
