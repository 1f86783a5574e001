"""Follows the chain link by link, and says where it is broken."""

from __future__ import annotations

import msgspec

from toolway_audit.chain import BROKEN
from toolway_audit.marks import BEGINNING, Mark
from toolway_audit.record import Link

MOST = 20
"""Problems that are told one by one."""


class Problem(msgspec.Struct, frozen=True):
    """What is wrong, and at which record."""

    seq: int
    what: str


class Walk:
    """Begins after a place that is known to be right; each step is one record."""

    def __init__(self, start: Mark = BEGINNING) -> None:
        self.at = start
        self.checked = 0
        self.problems: list[Problem] = []

    def step(self, link: Link) -> None:
        """Look at the next record."""
        if not link.is_intact:
            self.complain(link.seq, f"record {link.seq} was altered")
        if link.seq != self.at.seq + 1:
            self.complain(link.seq, self._jump(link.seq))
        elif link.previous != self.at.hash:
            self.complain(link.seq, f"record {link.seq} does not follow record {self.at.seq} as it is now")
        self.at = Mark(link.seq, link.hash)
        self.checked += 1

    def end(self, head: Mark | None, *, is_sealed: bool = True) -> None:
        """There is no further record; `head` is what the mark of the end says."""
        if head is None:
            if self.at != BEGINNING:
                self.complain(self.at.seq, "the mark of the end is missing")
        elif not is_sealed:
            self.complain(head.seq, "the mark of the end was altered, or the key of its seal")
        elif head.seq > self.at.seq:
            self.complain(self.at.seq + 1, f"records {self.at.seq + 1} to {head.seq} are missing at the end")
        elif head != self.at:
            self.complain(head.seq, f"the trail ended at record {head.seq} with another hash; later ones were added")

    def complain(self, seq: int, what: str) -> None:
        """Keep a problem, up to `MOST`."""
        if len(self.problems) < MOST:
            self.problems.append(Problem(seq, what))

    def _jump(self, seq: int) -> str:
        expected = self.at.seq + 1
        if seq < expected:
            return f"record {seq} comes after record {self.at.seq}: the order was changed"
        last = f"record {expected} is" if seq == expected + 1 else f"records {expected} to {seq - 1} are"
        return f"{last} missing"


def notice(walk: Walk, link: Link, action: str, details: str) -> None:
    """A record may itself tell that the gateway found the trail altered."""
    if action == BROKEN and link.is_intact:
        walk.complain(link.seq, f"the gateway itself found the trail altered before record {link.seq}: {details}")
