"""Counts outlive a reload of the configuration: it gives nobody a new burst."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from toolway.plugin import Kernel
from toolway_rate_limit.buckets import Buckets
from toolway_rate_limit.limit import Limit


class KeptCounts:
    """Hands the buckets of a rule that did not change over to the next gateway of this process."""

    name = "rate-limit-counts"

    def __init__(self, kernel: Kernel, limits: Sequence[Limit]) -> None:
        self._kernel, self._limits = kernel, limits

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`."""
        for limit in self._limits:
            if isinstance(limit.buckets, Buckets):
                key, fingerprint = f"rate-limit:{limit.rule.name}", limit.rule.model_dump_json()
                limit.buckets.full_at = await self._kernel.keep(key, fingerprint, _nothing)
        yield


async def _nothing() -> OrderedDict[str, float]:
    return OrderedDict()
