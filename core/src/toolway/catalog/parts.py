"""The parts of the snapshot that plugins offer, and revoked credentials, which reach every node like them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlmodel import col, select

from toolway.catalog.models import RevocationRow
from toolway.catalog.store import REVOCATIONS
from toolway.hookspecs.system import SnapshotPart, Transaction

EVERY_KEY = "*"
"""In place of revoke keys: which ones were revoked is not known any more."""


class Parts:
    """Loads those whose revision moved, in order; `values` are the ones in force."""

    def __init__(self, providers: Sequence[SnapshotPart]) -> None:
        self.values: Mapping[str, Any] = {}
        self._providers: tuple[SnapshotPart, ...] = (Revocations(), *providers)
        self._revisions: Mapping[str, int] = {}

    async def load(self, tx: Transaction, revisions: Mapping[str, int]) -> Mapping[str, Any]:
        """What is to be in force; the same mapping as before when nothing moved."""
        values, moved = dict(self.values), set[str]()
        for part in self._providers:
            is_due = revisions.get(part.name, 0) != self._revisions.get(part.name, 0)
            if part.name not in values or is_due or moved.intersection(part.after):
                values[part.name] = await part.load(tx, values)
                moved.add(part.name)
        return values if moved else self.values

    def use(self, values: Mapping[str, Any], revisions: Mapping[str, int]) -> None:
        """They are in force now."""
        self.values, self._revisions = values, revisions


class Revoked(msgspec.Struct, frozen=True):
    """The revoke keys that became known with this snapshot, and the number of the last one."""

    last: int
    keys: frozenset[str] = frozenset()


class Revocations:
    """Reads which credentials were revoked since the last time.

    At the start these are all that are kept: whoever ends something with them may have been stopped before it did.
    """

    name = REVOCATIONS
    after: tuple[str, ...] = ()

    async def load(self, tx: Transaction, parts: Mapping[str, Any]) -> Revoked:
        """See `SnapshotPart`."""
        known: Revoked | None = parts.get(self.name)
        last = known.last if known else 0
        found = list(await tx.session.exec(select(RevocationRow).where(col(RevocationRow.number) > last)))
        if not found:
            return Revoked(last)
        is_gapless = known is None or min(row.number for row in found) == last + 1
        keys = {row.key for row in found} if is_gapless else {EVERY_KEY}
        return Revoked(max(row.number for row in found), frozenset(keys))
