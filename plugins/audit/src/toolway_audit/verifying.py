"""Verifies the chain in the database page by page, and exported files line by line."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import msgspec
from sqlmodel import col, select

from toolway.hookspecs.system import Transaction
from toolway.plugin import Database
from toolway_audit.chain import Chain
from toolway_audit.marks import ANCHOR, BEGINNING, HEAD, Mark, Marks
from toolway_audit.models import RecordRow
from toolway_audit.record import GENESIS, Link
from toolway_audit.walk import Problem, Walk, notice

CHUNK = 500
"""Records between two looks at other work."""
PAGE = 5_000
"""Records that one request looks at."""


class Verdict(msgspec.Struct, frozen=True):
    """Of one page, or of a file. `next_at` is where the next page begins; None when there is no more."""

    checked: int
    problems: Sequence[Problem]
    end: Mark
    next_at: Mark | None = None


class Verifier:
    """Reads what the database has; it changes nothing."""

    def __init__(self, database: Database, chain: Chain, marks: Marks, page: int = PAGE) -> None:
        self._database = database
        self._chain = chain
        self._marks = marks
        self._page = page

    async def verify(self, at: Mark | None = None, known: Mark | None = None) -> Verdict:
        """One page, from the beginning or after `at`; a place that was `known` earlier must still be in the trail."""
        async with self._database.read() as tx:
            key = await self._marks.key(tx)
            head, is_sealed = await self._marks.get(tx, HEAD, key)
            anchor, is_anchored = await self._marks.get(tx, ANCHOR, key)
            start = anchor or BEGINNING
            walk = Walk(start if at is None or at.seq < start.seq else at)
            if at is None and not is_anchored:
                walk.complain(start.seq, "the mark of the beginning was altered, or the key of its seal")
            if known is not None:
                await self._compare(tx, walk, known, start)
            if await self._follow(tx, walk):
                return Verdict(walk.checked, walk.problems, head or BEGINNING, walk.at)
            walk.end(anchor if head is None else head, is_sealed=is_sealed)
        return Verdict(walk.checked, walk.problems, head or BEGINNING)

    async def _follow(self, tx: Transaction, walk: Walk) -> bool:
        """Whether there are more records after this page."""
        while walk.checked < self._page:
            records = await self._chain.after(tx, walk.at.seq, CHUNK)
            for record in records:
                link = Link.of(record)
                walk.step(link)
                notice(walk, link, record.action, record.details)
            if len(records) < CHUNK:
                return False
            await asyncio.sleep(0)
        return True

    async def _compare(self, tx: Transaction, walk: Walk, known: Mark, start: Mark) -> None:
        if known.seq < start.seq:
            return  # it went with the retention
        wanted = select(RecordRow.hash).where(col(RecordRow.seq) == known.seq)
        found = start.hash if known.seq == start.seq else (await tx.session.exec(wanted)).first()
        if found != known.hash:
            gone = "is not there" if found is None else "is another one than you noted"
            walk.complain(known.seq, f"record {known.seq} {gone}")


class Told(msgspec.Struct):
    """What else of a line is looked at."""

    action: str = ""
    details: msgspec.Raw = msgspec.Raw(b"null")


class Ending(msgspec.Struct):
    """The last line of an export: where the trail began and ended, and whether only some records were asked for."""

    after: Mark
    end: Mark
    is_selection: bool = False


class FileWalk:
    """Looks at each line once: as a link of the chain, and for itself."""

    def __init__(self) -> None:
        self._walk: Walk | None = None
        self._alone = Walk()
        self._ending: Ending | None = None
        self._before = BEGINNING
        self._lines = 0

    def step(self, line: bytes) -> None:
        """The next line."""
        self._lines += 1
        is_after_end, link = self._ending is not None, Link.read(line)
        self._ending = _ending(line) if link is None else None
        if link is not None:
            self._step(link, line)
        if is_after_end or (link is None and self._ending is None):
            self._complain(f"line {self._lines} is no record, or is after the end")

    def verdict(self) -> tuple[Verdict, bool]:
        """When there are no more lines: what they are, and whether they are a selection of the records."""
        walk, ending = self._walk or Walk(), self._ending
        if ending is None:
            walk.complain(walk.at.seq, "the file does not end as an export does: lines are missing at its end")
            return Verdict(walk.checked, walk.problems, walk.at), False
        if ending.is_selection:
            return Verdict(walk.checked, self._alone.problems, ending.end), True
        if self._walk is None:
            walk.at = ending.after
        elif self._before != ending.after:
            walk.complain(self._before.seq + 1, "records are missing at the beginning")
        walk.end(ending.end)
        return Verdict(walk.checked, walk.problems, ending.end), False

    def _step(self, link: Link, line: bytes) -> None:
        if self._walk is None:
            self._before = Mark(link.seq - 1, link.previous if link.seq > 1 else GENESIS)
            self._walk = Walk(self._before)
        self._walk.step(link)
        if not link.is_intact:  # what it tells is not to be believed, and may not even be text
            return self._alone.complain(link.seq, f"record {link.seq} was altered")
        told = msgspec.json.decode(line, type=Told)
        notice(self._walk, link, told.action, bytes(told.details).decode())

    def _complain(self, what: str) -> None:
        self._walk = self._walk or Walk()
        self._walk.complain(self._lines, what)
        self._alone.complain(self._lines, what)


def verify_lines(lines: Iterable[bytes]) -> tuple[Verdict, bool]:
    """Of an export: the verdict, and whether it is a selection, where missing records cannot be noticed."""
    walk = FileWalk()
    for line in lines:
        walk.step(line)
    return walk.verdict()


def _ending(line: bytes) -> Ending | None:
    try:
        return msgspec.json.decode(line, type=Ending)
    except (ValueError, RecursionError):
        return None
