"""The API of the cache: what it is worth, what is in it, and dropping some of it on every node."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from typing import TypeVar

from toolway.hookspecs.api import ANY, Incoming, Operation, Page, PageQuery
from toolway.hookspecs.auth import Resource
from toolway.plugin import Kernel
from toolway_cache import reports
from toolway_cache.cache import Cache
from toolway_cache.keeping import Keeping
from toolway_cache.orders import Order
from toolway_cache.schemas import (
    CachedItem,
    CacheReport,
    DroppedOn,
    EntryReport,
    Flush,
    Flushed,
    Named,
    Uses,
    Warm,
    WarmReport,
)
from toolway_cache.settings import CacheSettings
from toolway_cache.warming import warm

Row = TypeVar("Row", CachedItem, EntryReport)

READ, WRITE = "cache:read", "cache:write"
PATH = "/api/v1/cache"


class CacheOperations:
    """Who sees an upstream, and has the permission, sees what is kept of it."""

    name = "cache"

    def __init__(self, kernel: Kernel, settings: CacheSettings, cache: Cache, keeping: Keeping) -> None:
        self._kernel, self._settings, self._cache, self._keeping = kernel, settings, cache, keeping

    def operations(self) -> Iterable[Operation]:
        """All of them."""
        items, entries = Page[CachedItem], Page[EntryReport]
        return [
            Operation("GET", PATH, READ, self.show, answer=CacheReport, filters=True),
            Operation("GET", f"{PATH}/items", READ, self.items, query=PageQuery, answer=items, filters=True),
            Operation("GET", f"{PATH}/entries", READ, self.entries, query=PageQuery, answer=entries, filters=True),
            Operation("POST", f"{PATH}/flush", WRITE, self.flush, Flush, answer=Flushed, filters=True),
            Operation("POST", f"{PATH}/warm", WRITE, self.warm, Warm, answer=WarmReport),
        ]

    async def show(self, incoming: Incoming) -> CacheReport:
        """Show how often copies were of use, by server and upstream, as this node counted it."""
        seen = set(self._seen(incoming, READ))
        return self._report({key: uses for key, uses in self._both().items() if key.partition("\n")[2] in seen})

    async def collect(self) -> CacheReport:
        """See `Diagnostic`: of all upstreams."""
        return self._report(self._both())

    def _both(self) -> dict[str, Uses]:
        """By server and upstream."""
        return reports.grouped(self._cache.kept, self._now, lambda what: f"{what[0]}\n{what[1]}")

    def _report(self, visible: dict[str, Uses]) -> CacheReport:
        return CacheReport(
            node=self._kernel.node,
            memory=self._settings.memory,
            shared=self._settings.shared,
            servers=_summed(visible, 0),
            upstreams=_summed(visible, 1),
            **reports.total(visible.values()),
        )

    async def items(self, incoming: Incoming) -> Page[CachedItem]:
        """List tools, prompts and resources with how often copies of their results were of use on this node."""
        seen = self._seen(incoming, READ)
        found = reports.grouped(self._cache.kept, self._now, reports.line)
        rows = {key: reports.item_report(key, uses) for key, uses in found.items() if _upstream(key) in seen}
        return _page(incoming, rows)

    async def entries(self, incoming: Incoming) -> Page[EntryReport]:
        """List the copies on this node, without what is in them."""
        seen, now = self._seen(incoming, READ), self._now
        mine = [entry for entry in self._cache.kept.entries if entry.upstream in seen]
        rows = {f"{each.upstream}/{each.name}\n{each.key.hex()}": reports.entry_report(each, now) for each in mine}
        return _page(incoming, rows)

    async def flush(self, incoming: Incoming) -> Flushed:
        """Drop copies, on every node; says how many on which."""
        body: Flush = incoming.body
        seen = self._seen(incoming, WRITE)
        upstreams = tuple(name for name in seen if body.upstream in ("", name))
        order = Order(upstreams, body.server, body.method or "", "", body.items, body.key)
        removed, silent = await self._keeping.drop(order)
        nodes = [DroppedOn(node=node, removed=removed[node]) for node in sorted(removed)]
        return Flushed(removed=sum(removed.values()), nodes=nodes, silent=silent, upstreams=list(upstreams))

    async def warm(self, incoming: Incoming) -> WarmReport:
        """Make calls so that copies of their results are there; this node does it."""
        return WarmReport(calls=await warm(self._kernel, incoming))

    @property
    def _now(self) -> float:
        return self._kernel.clock.monotonic()

    def _seen(self, incoming: Incoming, permission: str) -> list[str]:
        """The upstreams that the caller may do it with; refused if there is none, nor the collection."""
        known = sorted({*self._kernel.catalog.snapshot.upstreams, *self._cache.kept.entries.upstreams()})
        seen = [name for name in known if incoming.may(permission, self._resource(name))]
        if not seen:
            incoming.demand(permission, ANY)
        return seen

    def _resource(self, upstream: str) -> Resource:
        """Decisions are about the upstream, with its owner and visibility."""
        return self._kernel.describe("upstreams:read", upstream)


def _upstream(key: str) -> str:
    """Of which upstream the item of a `line` is."""
    return key.partition("/")[0]


def _page(incoming: Incoming, rows: dict[str, Row]) -> Page[Row]:
    """The page that the query asks for, of rows that the caller may see."""
    query: PageQuery = incoming.query
    keys = sorted(rows)
    start = bisect.bisect_right(keys, query.cursor) if query.cursor else 0
    chosen = keys[start : start + query.limit]
    is_last = start + query.limit >= len(keys)
    return Page(items=[rows[key] for key in chosen], next_cursor=None if is_last else chosen[-1])


def _summed(visible: dict[str, Uses], part: int) -> list[Named]:
    """By server (0) or upstream (1)."""
    names = sorted({key.split("\n")[part] for key in visible})
    return [
        Named(name=name, **reports.total(uses for key, uses in visible.items() if key.split("\n")[part] == name))
        for name in names
    ]
