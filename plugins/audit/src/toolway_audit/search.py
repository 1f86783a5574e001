"""Finds records by who, what, when and how it ended; and reads them out in order for an export."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec
from sqlalchemy import ColumnElement
from sqlmodel import select

from toolway.hookspecs.system import Transaction
from toolway.plugin import Database
from toolway_audit.chain import RECORDS
from toolway_audit.marks import ANCHOR, BEGINNING, HEAD, Marks
from toolway_audit.record import COLUMNS, Record
from toolway_audit.verifying import Ending

CHUNK = 500


class Wanted(msgspec.Struct, frozen=True):
    """Which records; what is empty excludes none. A text that ends in `*` is the beginning of what is looked for."""

    actor: str = ""
    action: str = ""
    object: str = ""
    outcome: str = ""
    since: str = ""
    until: str = ""

    @property
    def is_selection(self) -> bool:
        """Whether some records may be left out."""
        return any(msgspec.structs.astuple(self))

    def conditions(self) -> list[ColumnElement[bool]]:
        """Of a query."""
        found = [
            _matches(RECORDS.c[name], text)
            for name in ("actor", "action", "object", "outcome")
            if (text := getattr(self, name))
        ]
        if self.since:
            found.append(RECORDS.c.at >= self.since)
        if self.until:
            found.append(RECORDS.c.at < self.until)
        return found


class Search:
    """Reads records."""

    def __init__(self, database: Database, marks: Marks) -> None:
        self._database = database
        self._marks = marks

    async def newest(self, wanted: Wanted, before: int | None, count: int) -> Sequence[Record]:
        """The newest ones with a number below `before`."""
        conditions = wanted.conditions()
        if before is not None:
            conditions.append(RECORDS.c.seq < before)
        async with self._database.read() as tx:
            return await _read(tx, conditions, count, RECORDS.c.seq.desc())

    async def lines(self, wanted: Wanted) -> AsyncIterator[bytes]:
        """The lines of an export: records from the oldest on, up to the end as it is now, then that end."""
        async with self._database.read() as tx:
            end = (await self._marks.get(tx, HEAD, None))[0] or BEGINNING
            start = (await self._marks.get(tx, ANCHOR, None))[0] or BEGINNING
        seq = start.seq
        conditions = [*wanted.conditions(), RECORDS.c.seq <= end.seq]
        while True:
            async with self._database.read() as tx:
                records = await _read(tx, [*conditions, RECORDS.c.seq > seq], CHUNK, RECORDS.c.seq)
            if records:
                yield b"".join(record.line() for record in records)
                seq = records[-1].seq
            if len(records) < CHUNK:
                break
            await asyncio.sleep(0)
        yield msgspec.json.encode(Ending(start, end, wanted.is_selection)) + b"\n"


async def _read(
    tx: Transaction, conditions: Sequence[ColumnElement[bool]], count: int, order: ColumnElement[object]
) -> list[Record]:
    columns = [RECORDS.c[name] for name in COLUMNS]
    rows = await tx.session.exec(select(*columns).where(*conditions).order_by(order).limit(count))
    return [Record(**dict(zip(COLUMNS, row, strict=True))) for row in rows]


def _matches(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    return column.startswith(text[:-1], autoescape=True) if text.endswith("*") else column == text
