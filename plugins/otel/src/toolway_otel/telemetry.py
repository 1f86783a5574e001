"""Ties it together: spans that were kept, and totals, go to the shipper, which outlives reloads."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

from toolway.hookspecs.telemetry import Family
from toolway.plugin import Kernel, ToolwayError, beside
from toolway_otel.conversion import Telling, metrics_data, resource
from toolway_otel.exporting import exporters
from toolway_otel.settings import OtelSettings
from toolway_otel.shipping import Shipper
from toolway_otel.trace import Span, Trace

log = logging.getLogger("toolway.otel")


class Telemetry:
    """As a service it sends, as a metric reader it knows the totals; `keep` takes the spans of a trace."""

    name = "otel"

    def __init__(self, kernel: Kernel, settings: OtelSettings) -> None:
        self._kernel, self._settings = kernel, settings
        self._resource = resource(settings, version("toolway"), kernel.public_url)
        self._telling = Telling(self._resource, kernel.redact)
        self._turn = f"otel/metrics/{socket.gethostname()}:{kernel.public_url}"[:512]
        self._own = str(os.getpid()).encode()
        self._collect: Callable[[], Sequence[Family]] = tuple
        self._shipper: Shipper | None = None
        self._lost = 0
        self._dropped = kernel.metrics.counter(
            "toolway_spans_dropped_total", "Spans that could not be exported, or found no room.", {}
        )

    def attach(self, collect: Callable[[], Sequence[Family]]) -> None:
        """See `MetricReader`."""
        self._collect = collect

    def keep(self, trace: Trace, spans: list[Span]) -> None:
        """Send them some time."""
        if self._shipper is not None:
            self._shipper.put([(trace, each, self._telling) for each in spans])

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`."""
        settings, kernel = self._settings, self._kernel
        fingerprint = settings.model_dump_json()
        self._shipper = await kernel.keep("otel", fingerprint, self._made, self._closed)
        self._shipper.dropped = self._lose
        async with beside(self.name, self._tend()):
            yield

    async def _made(self) -> Shipper:
        settings, secrets = self._settings, self._kernel.secrets
        headers = {name: await secrets.get(reference) for name, reference in settings.headers.items()}
        spans, metrics = await asyncio.to_thread(exporters, settings, headers)
        return Shipper(spans, metrics, settings.queue, self._lose)

    async def _closed(self, shipper: Shipper) -> None:
        await asyncio.to_thread(shipper.close, self._settings.timeout)

    def _lose(self, count: int) -> None:
        """Counted by `_tend`: instruments belong to the event loop's thread."""
        self._lost += count

    async def _tend(self) -> None:
        interval, due = self._settings.metrics_interval, 0.0
        while True:
            await asyncio.sleep(min(1.0, interval))
            lost, self._lost = self._lost, 0
            if lost:
                self._dropped.add(lost)
                log.warning("%d spans could not be exported; is the receiver at %s well?", lost, self._settings.base)
            now = self._kernel.clock.monotonic()
            if self._settings.metrics and now >= due:
                due = now + interval
                await self._export()

    async def _export(self) -> None:
        """One worker of the node does, the same one while it lives: the totals are those of all."""
        try:
            is_ours = await self._is_ours()
        except ToolwayError as error:
            log.info("metrics are not exported now: %s", error.message)
            return
        if is_ours and self._shipper is not None:
            redact, since = self._kernel.redact, self._kernel.metrics.since
            self._shipper.put_metrics(partial(metrics_data, self._collect(), self._resource, since, redact))

    async def _is_ours(self) -> bool:
        """Whether this worker has the turn, or takes over from one that is gone."""
        swap, ttl = self._kernel.keyvalue.compare_and_set, self._settings.metrics_interval * 2.5
        return await swap(self._turn, self._own, self._own, ttl) or await swap(self._turn, None, self._own, ttl)
