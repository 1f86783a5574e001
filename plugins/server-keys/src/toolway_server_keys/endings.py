"""What ends keys from outside: the credential that made them is revoked, or their server is deleted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from toolway.hookspecs.system import Change, Transaction
from toolway_server_keys.key_store import KeyStore
from toolway_server_keys.known_keys import KnownKeys

REMEMBERED = 10_000
SERVERS = "servers"


class EndedCredentials:
    """A part of the snapshot without a value: hears which credentials were revoked.

    What was made with them is refused on this node from then on; for those that are `waiting` it is still to be written
    down. Every node does so, because nobody knows which of them will live to do it.
    """

    name = "server-keys-credentials"
    after: tuple[str, ...] = ("revocations",)

    def __init__(self, known: KnownKeys) -> None:
        self._known = known
        self._heard: OrderedDict[str, None] = OrderedDict()
        self.waiting: set[str] = set()

    async def load(self, tx: Transaction, parts: Mapping[str, Any]) -> None:
        """See `SnapshotPart`."""
        keys: frozenset[str] = parts["revocations"].keys
        await self._known.reread(tx, keys)
        for key in keys - self._heard.keys():
            self._heard[key] = None
            self.waiting.add(key)
        while len(self._heard) > REMEMBERED:
            self._heard.popitem(last=False)

    def among(self, credentials: Iterable[str]) -> frozenset[str]:
        """Those of them that are known to be over."""
        return frozenset(credentials) & self._heard.keys()


class DeletedServers:
    """Takes a server from its keys for good, in the transaction that deletes it.

    One that is made anew is another one, so it has no keys either: those of its name are left from one that went in
    another way, such as out of the configuration file. A server that is not loaded for a while loses none.
    """

    name = "server-keys"

    def __init__(self, store: KeyStore) -> None:
        self._store = store

    async def record(self, change: Change) -> None:
        """See `ChangeRecorder`."""
        kind, _, server = change.subject.partition("/")
        if kind == SERVERS and (change.before is None or change.after is None):
            await self._store.forsake(change, server)
