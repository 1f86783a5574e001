"""What happens beside the calls: once per interval values move."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from toolway.plugin import Kernel, beside
from toolway_autotune.plugin import AutotuneSettings
from toolway_autotune.tuned_upstream import TunedUpstream
from toolway_autotune.tuner import Tuner

log = logging.getLogger(__name__)


class Rounds:
    """Runs as long as the gateway; what was learned outlives a reload, unless the settings of the plugin change."""

    name = "autotune"

    def __init__(self, kernel: Kernel, tuner: Tuner, settings: AutotuneSettings) -> None:
        self._kernel = kernel
        self._tuner = tuner
        self._settings = settings

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`."""
        self._tuner.adopt(await self._kernel.keep("autotune", self._settings.model_dump_json(), self._learned))
        async with beside(self.name, self._repeat()):
            yield

    async def _learned(self) -> dict[str, TunedUpstream]:
        return self._tuner.upstreams

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(self._settings.interval)
            try:
                self._tuner.forget(self._kernel.catalog.snapshot.upstreams)
                self._tuner.decide()
            except Exception:  # nothing that goes wrong here may end it
                log.exception("tuning failed and is tried again in %g s", self._settings.interval)
