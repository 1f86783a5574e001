"""What the plugin is made of in one gateway, and how the parts know each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from toolway.hookspecs.system import Service
from toolway.plugin import Kernel
from toolway_rate_limit.counts import KeptCounts
from toolway_rate_limit.limit import Limit
from toolway_rate_limit.limiter import Limiter
from toolway_rate_limit.meters import OverloadGauge, count_refusals, count_shed
from toolway_rate_limit.operations import LimitOperations
from toolway_rate_limit.shared_store import SharedStore
from toolway_rate_limit.shedder import Shedder

if TYPE_CHECKING:
    from toolway_rate_limit.settings import RateLimitSettings


class Parts(msgspec.Struct, frozen=True):
    """One of each."""

    kernel: Kernel
    limiter: Limiter
    operations: LimitOperations
    services: tuple[Service, ...]

    @classmethod
    def of(cls, kernel: Kernel, settings: RateLimitSettings) -> Parts:
        """Everything, for this gateway."""
        store = SharedStore(kernel, settings.store_wait) if settings.shared else None
        shedder = Shedder(settings.shedding, kernel.clock) if settings.shedding.enabled else None
        limits = [Limit.of(rule, settings, store) for rule in settings.rules]
        if store is not None:
            store.on_nodes += [limit.slots.share for limit in limits if limit.slots is not None]
        count_refusals(kernel.metrics, limits)
        overload = None
        if shedder is not None:
            count_shed(kernel.metrics, shedder)
            overload = OverloadGauge(kernel.metrics, shedder.overload)
        limiter = Limiter(limits, shedder, kernel.clock)
        services = tuple(each for each in (KeptCounts(kernel, limits), store, shedder, overload) if each is not None)
        return cls(kernel, limiter, LimitOperations(kernel, limiter, shedder, store), services)
