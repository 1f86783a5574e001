"""Removes old records from the beginning of the chain, once they are verified; a mark of the beginning stays."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import delete
from sqlmodel import col

from toolway.hookspecs.system import Transaction
from toolway.plugin import Kernel, ToolwayError, beside
from toolway_audit.chain import LOCK, Chain
from toolway_audit.marks import ANCHOR, BEGINNING, HEAD, Mark, Marks
from toolway_audit.models import RecordRow
from toolway_audit.record import Link, Record, timestamp
from toolway_audit.walk import Walk
from toolway_audit.writing import Event, Scribe

log = logging.getLogger(__name__)

CHUNK = 500
PRUNE_SECONDS = 3600.0
LEASE, LEASE_SECONDS = "audit.prune", 300.0
PRUNED = "audit.prune"


class Retention:
    """A service, when records are not kept for ever. `seconds` is how long they are."""

    name = "audit-retention"

    def __init__(self, kernel: Kernel, chain: Chain, marks: Marks, scribe: Scribe, seconds: float) -> None:
        self._kernel = kernel
        self._chain = chain
        self._marks = marks
        self._scribe = scribe
        self._seconds = seconds

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`."""
        async with beside(self.name, self._repeat()):
            yield

    async def prune(self) -> int:
        """Remove what is older than the retention, and record that; how many. Stops at what is not as it was."""
        before, removed = timestamp(self._kernel.clock.now() - self._seconds), 0
        while gone := await self._chunk(before):
            removed += gone
        if removed:
            now = self._kernel.clock.now()
            event = Event(now, PRUNED, "audit", "ok", details={"records": removed, "before": before})
            async with self._kernel.database.write() as tx:
                await self._chain.append(tx, [self._scribe.entry(event)], now)
        return removed

    async def _chunk(self, before: str) -> int:
        async with self._kernel.database.write() as tx:
            await self._kernel.database.alone(tx, LOCK)
            key = await self._marks.key(tx)
            head, head_is_sealed = await self._marks.get(tx, HEAD, key)
            anchor, is_sealed = await self._marks.get(tx, ANCHOR, key)
            if head is None or key is None or not (head_is_sealed and is_sealed):
                return 0
            start = anchor or BEGINNING
            records = _old(await self._chain.after(tx, start.seq, CHUNK), before, head)
            return await self._remove(tx, records, start, key) if _is_whole(records, start) else 0

    async def _remove(self, tx: Transaction, records: Sequence[Record], start: Mark, key: bytes) -> int:
        if not records:
            return 0
        last = Mark(records[-1].seq, records[-1].hash)
        seq = col(RecordRow.seq)
        await tx.session.exec(delete(RecordRow).where((seq > start.seq) & (seq <= last.seq)))
        await self._marks.set(tx, ANCHOR, last, key)
        return len(records)

    async def _repeat(self) -> None:
        while True:
            try:
                async with self._kernel.keyvalue.lock(LEASE, LEASE_SECONDS) as fence:
                    if fence is not None and (removed := await self.prune()):
                        log.info("%d audit records were older than the retention and are removed", removed)
            except ToolwayError as error:
                log.warning("pruning the audit trail failed and is tried again: %s", error.message)
            await asyncio.sleep(PRUNE_SECONDS)


def _old(records: Sequence[Record], before: str, head: Mark) -> list[Record]:
    """Those at the beginning that are older; the last one of the chain always stays."""
    for number, record in enumerate(records):
        if record.at >= before or record.seq >= head.seq:
            return list(records[:number])
    return list(records)


def _is_whole(records: Sequence[Record], start: Mark) -> bool:
    walk = Walk(start)
    for record in records:
        walk.step(Link.of(record))
    if walk.problems:
        log.error("the audit trail is not pruned: %s; run `toolway audit verify`", walk.problems[0].what)
    return not walk.problems
