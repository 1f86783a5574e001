"""The keys that this node has seen, for when the database is away."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from toolway.hookspecs.system import Transaction
from toolway.plugin import Clock, StoreUnavailable
from toolway_server_keys.key import Key
from toolway_server_keys.key_store import PART, KeyStore

PATIENT_SECONDS = 3600.0
"""So long a key that was read once goes on while the database is away."""
REMEMBERED = 10_000


class Known(msgspec.Struct, frozen=True):
    """A key, and when it was read (monotonic seconds)."""

    key: Key
    at: float


class KnownKeys:
    """Asks the database each time, because what is revoked must not come back; the gateway remembers the answers.

    What is remembered here is a part of the snapshot only to hear of changes: a key that another node revoked just
    before the database went away is not good for another hour.
    """

    name = PART
    after: tuple[str, ...] = ()

    def __init__(self, store: KeyStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._changes = 0

    async def find(self, key_id: str) -> Key | None:
        """The key; raises StoreUnavailable when it cannot be read and was not read lately."""
        now, before = self._clock.monotonic(), self._changes
        try:
            key = await self._store.find(key_id)
        except StoreUnavailable:
            known = self._known.get(key_id)
            if known is None or now - known.at > PATIENT_SECONDS:
                raise
            return known.key
        if before != self._changes:  # it may be from before what was read again meanwhile
            return key
        self._known.pop(key_id, None)
        if key is not None:
            self._known[key_id] = Known(key, now)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return key

    async def load(self, tx: Transaction, parts: Mapping[str, Any]) -> None:
        """Read all that is known again; see `SnapshotPart`."""
        await self._read_again(tx, tuple(self._known))

    async def reread(self, tx: Transaction, revoked: frozenset[str]) -> None:
        """Read those with these revoke keys again; `*` is in all of them."""
        wanted = [key_id for key_id, known in self._known.items() if revoked & {"*", known.key.principal}]
        await self._read_again(tx, wanted)

    async def _read_again(self, tx: Transaction, ids: Sequence[str]) -> None:
        self._changes += 1
        now = self._clock.monotonic()
        keys = await self._store.found(tx, ids)
        for key_id in ids:
            if key_id in keys:
                self._known[key_id] = Known(keys[key_id], now)
            else:
                self._known.pop(key_id, None)
