"""The collection of items: what upstreams offer, or what one server shows, read from the snapshot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, Field

from toolway.admin.operations import Incoming, operation
from toolway.admin.pages import Page, PageQuery, listing
from toolway.catalog.snapshot import ITEM_KINDS, Snapshot
from toolway.errors import NotFound
from toolway.hookspecs.routing import Item


class ItemQuery(PageQuery):
    """Which items."""

    kind: Literal["tool", "prompt", "resource", "template", ""] = Field("", description="Only these; empty for all.")
    upstream: str = Field("", description="Only those of this upstream.")
    server: str = Field("", description="Only those that this server shows, as it shows them.")


class ItemReport(BaseModel):
    """One item."""

    canonical: str = Field(description="Canonical name, `upstream/item`.")
    kind: Literal["tool", "prompt", "resource", "template"]
    upstream: str
    name: str = Field(description="What its upstream calls it: a name, URI or URI template.")
    description: str = Field(description="What it says about itself; empty when nothing.")
    exposed: str | None = Field(description="What the server calls it; null when no server was asked for.")
    definition: dict[str, Any] = Field(description="Its list entry.")


Found = tuple[Item, str | None, bytes]
"""An item, what the server calls it, and its list entry."""


@operation("GET", "/api/v1/items", "items:read", filters=True)
async def items(incoming: Incoming, query: ItemQuery) -> Page[ItemReport]:
    """List items."""
    snapshot = incoming.context.catalog.snapshot
    every = _shown_by(snapshot, query.server) if query.server else _offered(snapshot)
    found = {
        f"{item.canonical}\n{item.kind}": (item, exposed, raw)
        for item, exposed, raw in every
        if query.kind in ("", item.kind) and query.upstream in ("", item.upstream)
    }
    return listing(incoming, "items:read", found, query, _report)


def _shown_by(snapshot: Snapshot, server: str) -> Iterable[Found]:
    view = snapshot.servers.get(server)
    if view is None:
        raise NotFound(f"servers has no {server!r}")
    return ((one.item, one.name, one.raw) for kind in ITEM_KINDS for one in view.listed(kind))


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
