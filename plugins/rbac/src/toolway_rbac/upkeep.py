"""Tells all nodes when a binding has ended: decisions know by themselves, open streams and lists have to hear of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from toolway.plugin import Kernel, beside
from toolway_rbac.part import PART
from toolway_rbac.policy import Policy

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
REMEMBERED_SECONDS = 60.0
"""How long it is known that the end of a binding was told."""


class Endings:
    """Makes the end of a binding a change of the policy, once among all nodes: subscriptions are looked at anew."""

    name = "rbac"

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`."""
        async with beside(self.name, self._watch()):
            yield

    async def _watch(self) -> None:
        last = self._kernel.clock.now()
        while True:
            await asyncio.sleep(POLL_SECONDS)
            now = self._kernel.clock.now()
            policy: Policy = self._kernel.parts[PART]
            try:
                for name, ended in policy.ended(last, now):
                    await self._tell(name, ended)
            except Exception:
                log.exception("open streams hear of ended bindings later; this is tried again")
            else:
                last = now

    async def _tell(self, name: str, ended: float) -> None:
        key = f"rbac.ended:{name}:{ended!r}"
        if await self._kernel.keyvalue.compare_and_set(key, None, b"", REMEMBERED_SECONDS):
            async with self._kernel.database.change(PART, PART, "bindings.end", f"bindings/{name}"):
                pass
            await self._kernel.catalog.reload()
