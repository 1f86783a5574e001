"""The collection of items: what upstreams offer, or what one server shows, read from the snapshot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from toolway.admin.operations import ANY, Incoming, operation, refuse
from toolway.admin.pages import PageQuery, page
from toolway.catalog.snapshot import ITEM_KINDS, ServerView, Snapshot
from toolway.errors import NotFound
from toolway.hookspecs.routing import Item, ItemKind

READ = "items:read"


class ItemQuery(PageQuery):
    """Which items."""

    kind: Literal["tool", "prompt", "resource", "template", ""] = Field("", description="Only these; empty for all.")
    upstream: str = Field("", description="Only those of this upstream.")
    server: str = Field("", description="Only those that this server shows, as it shows them.")


class ItemReport(BaseModel):
    """One item."""

    model_config = ConfigDict(extra="forbid")

    canonical: str = Field(description="Canonical name, `upstream/item`.")
    kind: Literal["tool", "prompt", "resource", "template"]
    upstream: str
    name: str = Field(description="What its upstream calls it: a name, URI or URI template.")
    description: str = Field(description="What it says about itself; empty when nothing.")
    exposed: str | None = Field(description="What the server calls it; null when no server was asked for.")
    definition: dict[str, Any] = Field(description="Its list entry.")


class ItemPage(BaseModel):
    """One page of items, sorted by canonical name."""

    items: list[ItemReport]
    next_cursor: str | None = Field(description="For the next page; null on the last one.")


Found = tuple[Item, str | None, bytes]
"""An item, what the server calls it, and its list entry."""


@operation("GET", "/api/v1/items", READ, filters=True)
async def items(incoming: Incoming, query: ItemQuery) -> ItemPage:
    """List items."""
    found = {
        f"{item.canonical}\0{item.kind}": (item, exposed, raw)
        for item, exposed, raw in _found(incoming.context.catalog.snapshot, query)
        if incoming.may(READ, item.canonical)
    }
    if not found and not incoming.may(READ, ANY):
        refuse(incoming, READ)
    shown = page(found, query)
    return ItemPage(items=[_report(one) for one in shown["items"]], next_cursor=shown["next_cursor"])


def _found(snapshot: Snapshot, query: ItemQuery) -> Iterable[Found]:
    kinds: tuple[ItemKind, ...] = (query.kind,) if query.kind else ITEM_KINDS
    offered = _shown_by(snapshot, query.server, kinds) if query.server else _offered(snapshot)
    return (one for one in offered if one[0].kind in kinds and query.upstream in ("", one[0].upstream))


def _shown_by(snapshot: Snapshot, server: str, kinds: tuple[ItemKind, ...]) -> Iterable[Found]:
    view: ServerView | None = snapshot.servers.get(server)
    if view is None:
        raise NotFound(f"servers has no {server!r}")
    return ((one.item, one.name, one.raw) for kind in kinds for one in view.listed(kind))


def _offered(snapshot: Snapshot) -> Iterable[Found]:
    entries = (entry for parsed in snapshot.parsed.values() if parsed for entry in parsed.entries)
    return ((entry.item, None, entry.item.raw) for entry in entries)


def _report(found: Found) -> ItemReport:
    item, exposed, raw = found
    definition = msgspec.json.decode(raw)
    description = definition.get("description")
    return ItemReport(
        canonical=item.canonical,
        kind=item.kind,
        upstream=item.upstream,
        name=item.name,
        description=description if isinstance(description, str) else "",
        exposed=exposed,
        definition=definition,
    )
