"""Copies of results in memory: bounded by their bytes, the least recently used ones go first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from copy import copy
from typing import Literal

import msgspec
from msgspec import Raw

from toolway.hookspecs.routing import Item, Reply, RpcFault, Upstream
from toolway.plugin import UpstreamError

OVERHEAD = 1_000
"""Bytes of an entry besides its body and names, as measured."""

Reason = Literal["full", "expired", "dropped"]


class Entry(msgspec.Struct, eq=False):
    """A copy of what an upstream answered; times are monotonic seconds.

    It is a result, whose JSON is `body`, a fault or a failure. A body that `lacks_ttl` ends where `ttlMs` belongs.
    `origin` and `item` are what was asked: if they are not any more, nor is this. `principal` is empty for everybody.
    """

    key: bytes
    server: str
    upstream: str
    method: str
    name: str
    principal: str
    origin: Upstream
    item: Item | None
    stored_at: float
    fresh_until: float
    stale_until: float
    body: bytes = b""
    lacks_ttl: bool = False
    fault: RpcFault | None = None
    failure: UpstreamError | None = None
    hits: int = 0
    size: int = 0

    def is_of(self, origin: Upstream, item: Item | None) -> bool:
        """Whether it is a copy of what would be asked now."""
        if self.origin is origin and self.item is item:
            return True
        if self.origin != origin or self.item != item:
            return False
        self.origin, self.item = origin, item
        return True

    def reply(self, now: float) -> Reply:
        """What the caller gets; raises the UpstreamError that it is a copy of."""
        if self.failure is not None:
            raise copy(self.failure).with_traceback(None)
        if self.fault is not None:
            return Reply(fault=self.fault)
        if not self.lacks_ttl:
            return Reply(Raw(self.body))
        left = max(0, int((self.fresh_until - now) * 1000))
        return Reply(Raw(b'%b"ttlMs":%d}' % (self.body, left)))

    def measure(self) -> None:
        """Find its size."""
        fault = len(msgspec.json.encode(self.fault)) if self.fault is not None else 0
        names = len(self.server) + len(self.upstream) + len(self.name) + len(self.principal)
        self.size = OVERHEAD + len(self.body) + fault + names


class Entries:
    """All of them, the least recently used first; `gone` hears of each that left, and why."""

    def __init__(self, most: int, gone: Callable[[Entry, Reason], None]) -> None:
        self.most, self.bytes, self.gone = most, 0, gone
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._by_upstream: dict[str, dict[bytes, Entry]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Entry | None:
        """The copy with that key, used just now."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, entry: Entry) -> None:
        """Keep it in place of another one with its key; others go if there is no room."""
        entry.measure()
        if (old := self._entries.get(entry.key)) is not None:
            entry.hits += old.hits
            self._remove(old)
        self._entries[entry.key] = entry
        self._by_upstream.setdefault(entry.upstream, {})[entry.key] = entry
        self.bytes += entry.size
        while self.bytes > self.most:
            oldest = next(iter(self._entries.values()))
            self._remove(oldest)
            self.gone(oldest, "full")

    def drop(self, upstream: str, matches: Callable[[Entry], bool] | None = None) -> int:
        """Remove those of an upstream, or some of them; how many there were."""
        found = self._by_upstream.get(upstream)
        if not found:
            return 0
        chosen = [entry for entry in found.values() if matches is None or matches(entry)]
        for entry in chosen:
            self.discard(entry, "dropped")
        return len(chosen)

    def discard(self, entry: Entry, reason: Reason) -> None:
        """Remove one that is of no more use."""
        if self._entries.get(entry.key) is entry:
            self._remove(entry)
            self.gone(entry, reason)

    def sweep(self, now: float, most: int = 1_000) -> None:
        """Remove those that are too old, of so many that were not used for the longest time."""
        oldest = [entry for entry, _ in zip(self._entries.values(), range(most), strict=False)]
        for entry in oldest:
            if entry.stale_until <= now:
                self.discard(entry, "expired")

    def upstreams(self) -> list[str]:
        """Whose there are some."""
        return list(self._by_upstream)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def _remove(self, entry: Entry) -> None:
        del self._entries[entry.key]
        self.bytes -= entry.size
        mine = self._by_upstream[entry.upstream]
        del mine[entry.key]
        if not mine:
            del self._by_upstream[entry.upstream]
