"""How often copies were of use, by server, upstream and item."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import msgspec

from toolway_cache.entries import Entry, Reason

REMEMBERED = 10_000

Outcome = Literal["hit", "stale", "joined", "miss", "refresh"]
OUTCOMES: tuple[Outcome, ...] = ("hit", "stale", "joined", "miss", "refresh")
"""Answered by a copy, by an old copy while a new one is on its way, by the call of somebody else, by the upstream.

A refresh is a call of the cache's own, for a new copy in place of an old one.
"""

What = tuple[str, str, str, str]
"""Server, upstream, method and the item's own name."""


class Count(msgspec.Struct, eq=False):
    """Of one item on one server; `evictions` are copies that went because there was no room for all."""

    outcomes: dict[Outcome, int] = msgspec.field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    evictions: int = 0


class Counts:
    """Those of the items that are used; of more than `REMEMBERED` the ones that came first are forgotten."""

    def __init__(self) -> None:
        self.counts: OrderedDict[What, Count] = OrderedDict()
        self.left: dict[Reason, int] = {"full": 0, "expired": 0, "dropped": 0}

    def add(self, server: str, upstream: str, method: str, name: str, outcome: Outcome) -> None:
        """A call was answered."""
        self._of((server, upstream, method, name)).outcomes[outcome] += 1

    def gone(self, entry: Entry, reason: Reason) -> None:
        """A copy went."""
        self.left[reason] += 1
        if reason == "full":
            self._of((entry.server, entry.upstream, entry.method, entry.name)).evictions += 1

    def _of(self, what: What) -> Count:
        known = self.counts.get(what)
        if known is None:
            known = self.counts[what] = Count()
            if len(self.counts) > REMEMBERED:
                self.counts.popitem(last=False)
        return known
