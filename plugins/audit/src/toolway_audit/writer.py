"""Writes down in batches what waits in the buffer, beside the requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from toolway.hookspecs.telemetry import Metrics
from toolway.plugin import Clock, Database, ToolwayError, beside
from toolway_audit.buffer import GAP, Buffer
from toolway_audit.chain import Chain
from toolway_audit.marks import Mark
from toolway_audit.record import Entry
from toolway_audit.writing import Event, Scribe

log = logging.getLogger(__name__)

BATCH = 200
"""Records of one transaction: others wait for their turn that long."""
LONGEST_PAUSE = 1.0
"""Seconds between two tries while the database is away."""
LAST_SECONDS = 5.0
"""How long the end of the gateway waits for the last records."""
RETRY_SECONDS = 0.1
STARTED, STOPPED = "node.start", "node.stop"


class Writer:
    """A service and a health check. `interval` is seconds between batches."""

    name = "audit"
    critical = False

    def __init__(
        self,
        database: Database,
        chain: Chain,
        scribe: Scribe,
        buffer: Buffer,
        clock: Clock,
        interval: float,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._chain = chain
        self._scribe = scribe
        self._buffer = buffer
        self._clock = clock
        self._interval = interval
        self._batch: list[Entry] = []
        self._tried: Mark | None = None
        self._problem = ""
        self._metrics, why = metrics, {"why": ("lost", "refused")}
        self._missing = metrics.counter("toolway_audit_missing_total", "Records not kept, and calls refused.", why)
        self._told = {"lost": 0, "refused": 0}

    async def check(self) -> str:
        """See `HealthCheck`."""
        return self._problem

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`. Both ends are recorded: a node without a second one may have lost its last records."""
        buffer, about = self._buffer, "Audit records that are not written yet."
        self._metrics.sampled("toolway_audit_waiting", about, lambda: float(len(buffer)))
        buffer.add(Event(self._clock.now(), STARTED, "audit", "ok"))
        try:
            async with beside(self.name, self._repeat()):
                yield
        finally:
            await self._finish()

    async def flush(self) -> None:
        """Write down everything that waits; raises what the database raises, and keeps what is left."""
        while self._batch or await self._next():
            async with self._database.write() as tx:
                if self._tried is None or not await self._chain.has(tx, self._tried):
                    self._tried = await self._chain.append(tx, self._batch, self._clock.now())
            written = sum(entry.action != GAP for entry in self._batch)
            self._batch, self._tried = [], None
            self._buffer.written(written)
        if self._problem:
            log.info("the audit trail is written again")
        self._problem = ""

    async def _next(self) -> bool:
        """Prepare the next batch, without the lock; whether there is one."""
        events = self._buffer.take(BATCH)
        self._batch = [self._scribe.entry(event) for event in events]
        await asyncio.sleep(0)
        return bool(events)

    async def _repeat(self) -> None:
        pause = self._interval
        while True:
            await asyncio.sleep(pause)
            self._count()
            try:
                await self.flush()
            except Exception as error:  # noqa: BLE001 - whatever it is, what happens must go on being recorded
                self._failed(error)
                pause = min(max(2 * pause, self._interval), LONGEST_PAUSE)
            else:
                pause = self._interval

    def _count(self) -> None:
        for why, total in (("lost", self._buffer.lost), ("refused", self._buffer.refused)):
            if total > self._told[why]:
                self._missing.add(total - self._told[why], why)
                self._told[why] = total

    def _failed(self, error: Exception) -> None:
        if not self._problem:
            log.error("the audit trail cannot be written (%s); it is tried again, records wait", error)
        self._problem = "the audit trail cannot be written: see the log"

    async def _finish(self) -> None:
        """Write down the rest, as long as it may take."""
        self._buffer.add(Event(self._clock.now(), STOPPED, "audit", "ok"))
        try:
            await asyncio.wait_for(self._insist(), LAST_SECONDS)
        except Exception as error:  # noqa: BLE001 - the gateway ends whatever it is
            what = self._problem or type(error).__name__
            log.error("%d audit records are lost: the gateway ends and cannot write (%s)", len(self._buffer), what)

    async def _insist(self) -> None:
        while True:
            try:
                return await self.flush()
            except ToolwayError as error:
                self._failed(error)
                await asyncio.sleep(RETRY_SECONDS)
