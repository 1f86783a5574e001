"""The chain in the database: one for all nodes, which append to it one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Table as SqlTable, insert
from sqlmodel import col, select

from toolway.hookspecs.system import Transaction
from toolway.plugin import Database
from toolway_audit.marks import BEGINNING, HEAD, Mark, Marks
from toolway_audit.models import RecordRow, Table
from toolway_audit.record import COLUMNS, Entry, Record
from toolway_audit.writing import Event, Scribe

LOCK = "audit"
BROKEN = "audit.broken"
"""The action of the record that says that the end of the chain was not as it was left."""

RECORDS: SqlTable = Table.metadata.tables[str(RecordRow.__tablename__)]


class Chain:
    """Appends. Whoever does waits for the others of all nodes; so records have no gaps, and one order."""

    def __init__(self, database: Database, marks: Marks, scribe: Scribe) -> None:
        self._database = database
        self._marks = marks
        self._scribe = scribe

    async def append(self, tx: Transaction, entries: Sequence[Entry], at: float) -> Mark:
        """Put them at the end; where the first of them is. `at` is now, in Unix seconds."""
        await tx.session.flush()  # takes the locks of the rest of the transaction before the one all wait for
        await self._database.alone(tx, LOCK)
        key = await self._marks.key(tx)
        end, complaint = await self._end(tx, key)
        if complaint:
            told = Event(at, BROKEN, "audit", "broken", details={"what": complaint})
            entries = [self._scribe.entry(told), *entries]
        records = _chained(entries, end)
        connection = await tx.session.connection()
        await connection.execute(insert(RECORDS), [msgspec.structs.asdict(each) for each in records])
        last = records[-1]
        await self._marks.set(tx, HEAD, Mark(last.seq, last.hash), key or await self._marks.make_key(tx))
        return Mark(records[0].seq, records[0].hash)

    async def has(self, tx: Transaction, mark: Mark) -> bool:
        """Whether this record is in the chain: the answer of a commit may be lost, and its records are not."""
        await self._database.alone(tx, LOCK)
        found = await tx.session.exec(select(RecordRow.hash).where(col(RecordRow.seq) == mark.seq))
        return found.first() == mark.hash

    async def after(self, tx: Transaction, seq: int, count: int) -> list[Record]:
        """The next records, oldest first."""
        columns = [RECORDS.c[name] for name in COLUMNS]
        wanted = select(*columns).where(RECORDS.c.seq > seq).order_by(RECORDS.c.seq).limit(count)
        return [Record(**dict(zip(COLUMNS, row, strict=True))) for row in await tx.session.exec(wanted)]

    async def _end(self, tx: Transaction, key: bytes | None) -> tuple[Mark, str]:
        """Where to go on, and what is wrong with it."""
        head, is_sealed = await self._marks.get(tx, HEAD, key)
        last = (
            await tx.session.exec(select(RecordRow.seq, RecordRow.hash).order_by(col(RecordRow.seq).desc()).limit(1))
        ).first()
        if head is None and last is None:
            return BEGINNING, ""
        found = BEGINNING if last is None else Mark(last[0], last[1])
        if head is None:
            return found, "the mark of the end was missing"
        if not is_sealed:
            return Mark(max(head.seq, found.seq), head.hash), "the mark of the end was altered"
        if head != found:
            return Mark(max(head.seq, found.seq), head.hash), f"the trail ended at {found}, and not at {head}"
        return head, ""


def _chained(entries: Sequence[Entry], end: Mark) -> list[Record]:
    records: list[Record] = []
    seq, previous = end.seq, end.hash
    for entry in entries:
        seq += 1
        records.append(Record.of(entry, seq, previous))
        previous = records[-1].hash
    return records
