"""The pool of a gateway: a reload with the same bounds leaves it as it is, connections that go on use it on."""

from __future__ import annotations

import asyncio

from toolway.plugin import Kernel
from toolway_prompts.jobs import Analyse, Analysed, Render, Rendered
from toolway_prompts.pool import Bounds, Pool, TemplateRefused

OUTCOMES = ("rendered", "refused", "time", "memory", "busy")


class KeptPool:
    """See `Jobs`: the pool is made with the first job, and ends with the last gateway that holds it."""

    def __init__(self, kernel: Kernel, bounds: Bounds, size: int) -> None:
        self._kernel, self._bounds, self._size = kernel, bounds, size
        self._getting = asyncio.Lock()
        about = "Prompts that were rendered, or why not."
        self._outcomes = kernel.metrics.counter("toolway_prompt_renderings_total", about, {"outcome": OUTCOMES})
        self._pool: Pool | None = None

    async def render(self, job: Render) -> Rendered:
        """See `Pool.render`."""
        outcome = "busy"
        try:
            rendered = await (self._pool or await self._get()).render(job)
            outcome = "rendered"
        except TemplateRefused as refused:
            outcome = refused.found.rule if refused.found.rule in OUTCOMES else "refused"
            raise
        finally:
            self._outcomes.add(1, outcome)
        return rendered

    async def analyse(self, job: Analyse) -> Analysed:
        """See `Pool.analyse`."""
        return await (self._pool or await self._get()).analyse(job)

    async def _get(self) -> Pool:
        async with self._getting:
            if self._pool is None:
                fingerprint = f"{self._size} workers of {self._bounds}"
                self._pool = await self._kernel.keep("prompts:workers", fingerprint, self._make, Pool.close)
            return self._pool

    async def _make(self) -> Pool:
        return Pool(self._bounds, self._size)
