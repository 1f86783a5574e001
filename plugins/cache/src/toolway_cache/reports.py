"""Adds up what is kept and what was counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from toolway_cache.counts import Count
from toolway_cache.entries import Entry
from toolway_cache.kept import Kept
from toolway_cache.schemas import CachedItem, EntryReport, Uses

What = tuple[str, str, str, str]
Group = Callable[[What], str]


def grouped(kept: Kept, now: float, group: Group) -> dict[str, Uses]:
    """The uses of everything, by what `group` makes of server, upstream, method and name."""
    found: dict[str, Uses] = {}
    for what, count in kept.counts.counts.items():
        _count(found.setdefault(group(what), Uses()), count)
    for entry in kept.entries:
        _hold(found.setdefault(group(of(entry)), Uses()), entry, now)
    return found


def total(uses: Iterable[Uses]) -> dict[str, Any]:
    """The sum of several; the oldest of all."""
    sums: dict[str, Any] = Uses().model_dump()
    for each in uses:
        for name, value in each.model_dump(include=set(sums)).items():
            sums[name] = max(sums[name], value) if name == "oldest" else sums[name] + value
    return sums


def of(entry: Entry) -> What:
    """What a copy is of."""
    return entry.server, entry.upstream, entry.method, entry.name


def line(what: What) -> str:
    """The name of an item, and what tells it apart from others of that name."""
    server, upstream, method, name = what
    return f"{upstream}/{name}\n{server}\n{method}"


def item_report(key: str, uses: Uses) -> CachedItem:
    """The uses of one item; `key` is its `line`."""
    name, server, method = key.rsplit("\n", 2)
    upstream = name.partition("/")[0]
    return CachedItem.model_validate(
        {"name": name, "server": server, "upstream": upstream, "method": method, **uses.model_dump()}
    )


def entry_report(entry: Entry, now: float) -> EntryReport:
    """One copy, without what is in it."""
    kind = "failure" if entry.failure is not None else "fault" if entry.fault is not None else "result"
    return EntryReport(
        name=f"{entry.upstream}/{entry.name}",
        key=entry.key.hex(),
        server=entry.server,
        upstream=entry.upstream,
        method=entry.method,
        principal=entry.principal,
        kind=kind,
        bytes=entry.size,
        hits=entry.hits,
        age=round(now - entry.stored_at, 3),
        fresh_for=round(entry.fresh_until - now, 3),
    )


def _count(uses: Uses, count: Count) -> None:
    outcomes = count.outcomes
    uses.hits += outcomes["hit"]
    uses.stale += outcomes["stale"]
    uses.joined += outcomes["joined"]
    uses.misses += outcomes["miss"]
    uses.refreshes += outcomes["refresh"]
    uses.evictions += count.evictions


def _hold(uses: Uses, entry: Entry, now: float) -> None:
    uses.entries += 1
    uses.bytes += entry.size
    uses.oldest = max(uses.oldest, round(now - entry.stored_at, 3))
