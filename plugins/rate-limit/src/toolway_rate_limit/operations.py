"""The API: what the limits are doing."""

from __future__ import annotations

from collections.abc import Iterable

from toolway.hookspecs.api import Incoming, Operation
from toolway.plugin import Kernel
from toolway_rate_limit.limit import Limit
from toolway_rate_limit.limiter import Limiter
from toolway_rate_limit.schemas import Holder, LoadView, RateLimitsView, RuleView
from toolway_rate_limit.shared_store import SharedStore
from toolway_rate_limit.shedder import Shedder

PATH = "/api/v1/rate-limits"
SHOWN = 10
"""Holders of each rule."""


class LimitOperations:
    """One operation."""

    name = "rate-limit"

    def __init__(self, kernel: Kernel, limiter: Limiter, shedder: Shedder | None, store: SharedStore | None) -> None:
        self._kernel, self._limiter, self._shedder, self._store = kernel, limiter, shedder, store

    def operations(self) -> Iterable[Operation]:
        """All of them."""
        return [Operation("GET", PATH, "rate-limits:read", self.show, answer=RateLimitsView)]

    async def show(self, incoming: Incoming) -> RateLimitsView:
        """Show each limit with who uses most of it, and what is refused because of overload."""
        return await self.collect()

    async def collect(self) -> RateLimitsView:
        """See `Diagnostic`."""
        store = self._store
        return RateLimitsView(
            node=self._kernel.node,
            counted="alone" if store is None else "shared",
            store=None if store is None else "away" if store.is_away else "works",
            nodes=1 if store is None else store.nodes,
            rules=[self._rule(limit) for limit in self._limiter.limits],
            load=_load(self._shedder),
        )

    def _rule(self, limit: Limit) -> RuleView:
        rule, now = limit.rule, self._kernel.clock.monotonic()
        return RuleView(
            name=rule.name,
            by=list(rule.by),
            rate=str(rule.rate) if rule.rate else None,
            burst=rule.most if rule.rate else None,
            concurrent=rule.concurrent,
            refused=limit.refused,
            emptiest=_holders(limit.buckets.emptiest(now, SHOWN) if limit.buckets else []),
            fullest=_holders(limit.slots.fullest(SHOWN) if limit.slots else []),
        )


def _holders(found: list[tuple[str, int]]) -> list[Holder]:
    return [Holder(key=key, count=count) for key, count in found]


def _load(shedder: Shedder | None) -> LoadView:
    if shedder is None:
        return LoadView(enabled=False, level=0.0, lag=0.0, in_flight=0, shed={})
    overload = shedder.overload
    return LoadView(
        enabled=True,
        level=round(overload.level, 3),
        lag=round(overload.p99(), 4),
        in_flight=shedder.in_flight,
        shed={**shedder.shed},
    )
