"""What the API tells of the catalog and of plugins: items, the state of upstreams and servers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from toolway.hookspecs.api import Incoming, Operation, Page, PageQuery, listing
from toolway.hookspecs.catalog import CatalogSnapshot, Collision, ShownServer, UpstreamView
from toolway.hookspecs.routing import Item, ItemKind
from toolway.plugin import Kernel, NotFound

# Whether whoever asks may see the item of a canonical name; `bool` for whoever may see all.
Seen = Callable[[str], bool]

ITEM_KINDS: tuple[ItemKind, ...] = ("tool", "prompt", "resource", "template")

Status = Literal["pending", "up", "down"]
NOTES: dict[Status, str] = {
    "pending": "registered; its items appear as soon as it answers",
    "up": "",
    "down": "registered, but down; it is tried again and again, and comes in when it is up",
}


class ItemQuery(PageQuery):
    """Which items."""

    kind: ItemKind | Literal[""] = Field("", description="Only these; empty for all.")
    upstream: str = Field("", description="Only those of this upstream.")
    server: str = Field("", description="Only those that this server shows, as it shows them.")


class ItemReport(BaseModel):
    """One item."""

    canonical: str = Field(description="Canonical name, `upstream/item`.")
    kind: ItemKind
    upstream: str
    name: str = Field(description="What its upstream calls it: a name, URI or URI template.")
    description: str = Field(description="What it says about itself; empty when nothing.")
    exposed: str | None = Field(description="What the server calls it; null when no server was asked for.")
    definition: dict[str, Any] = Field(description="Its list entry.")


class Discovered(BaseModel):
    """The state of an upstream."""

    status: Status = Field(description="Whether the last discovery succeeded.")
    note: str = Field(description="What that means for an upstream that is not up; empty otherwise.")
    error: str = Field(description="Why it is down; empty otherwise.")
    problems: list[str] = Field(description="What of it is left out, and why; told to who may see all that it offers.")
    since: float = Field(description="Since when it has this status, in seconds since 1970.")
    items: int = Field(description="How many tools, prompts, resources and templates it offers to who asks.")
    eras: dict[str, str | None] = Field(description="The protocol version it speaks in each era.")


class CollisionReport(BaseModel):
    """Items of one server that want the same name."""

    model_config = ConfigDict(from_attributes=True)

    kind: ItemKind = Field(description="What they are.")
    name: str = Field(description="The name or URI that they share.")
    items: list[str] = Field(description="Their canonical names, such as `ServerA/toolX`.")
    resolved: Literal["error", "prefix", "uri"] = Field(
        description="`error`: all left out; `prefix`: prefixed with the upstream; `uri`: in the gateway's own form."
    )


class PluginReport(BaseModel):
    """One plugin; what else is told is the host's matter."""

    model_config = ConfigDict(extra="allow")

    name: str


class CatalogOperations:
    """What the API tells of the catalog and the plugins besides declared objects."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def operations(self) -> list[Operation]:
        """All of them."""
        upstream, server = "/api/v1/upstreams/{name}", "/api/v1/servers/{name}"
        items, plugins = Page[ItemReport], Page[PluginReport]
        return [
            Operation("GET", "/api/v1/items", "items:read", self.items, None, ItemQuery, items, filters=True),
            Operation("GET", "/api/v1/plugins", "plugins:read", self.plugins, None, PageQuery, plugins, filters=True),
            Operation("POST", f"{upstream}/refresh", "upstreams:refresh", self.refresh, answer=Discovered),
            Operation("GET", f"{server}/collisions", "servers:read", self.collisions, answer=Page[CollisionReport]),
        ]

    async def items(self, incoming: Incoming) -> Page[ItemReport]:
        """List items: what upstreams offer, or what one server shows."""
        snapshot, query = self._kernel.catalog.snapshot, incoming.query
        if query.server:
            incoming.demand("servers:read", query.server)
        found = {
            f"{item.canonical}\n{item.kind}": (item, exposed, raw)
            for item, exposed, raw in (_shown_by(snapshot, query.server) if query.server else _offered(snapshot))
            if query.kind in ("", item.kind) and query.upstream in ("", item.upstream)
        }
        return listing(incoming, "items:read", found, lambda one: _item_report(*one))

    async def plugins(self, incoming: Incoming) -> Page[PluginReport]:
        """List plugins: installed, enabled and broken ones."""
        reports = {report["name"]: report for report in self._kernel.plugins}
        return listing(incoming, "plugins:read", reports, PluginReport.model_validate)

    async def refresh(self, incoming: Incoming) -> Discovered:
        """Discover an upstream now and wait for the result."""
        catalog = self._kernel.catalog
        if incoming.name not in catalog.snapshot.upstreams:
            raise NotFound(f"upstreams has no {incoming.name!r}")
        await catalog.refresh(incoming.name)
        return _discovered(self._kernel, catalog.snapshot.upstreams[incoming.name], seen_by(incoming))

    async def collisions(self, incoming: Incoming) -> Page[CollisionReport]:
        """Report the names that items of a server share, as far as one may see these items."""
        view = self._kernel.catalog.snapshot.servers.get(incoming.name)
        if view is None:
            raise NotFound(f"servers has no {incoming.name!r}")
        return Page(items=[CollisionReport.model_validate(one) for one in _collisions(view, seen_by(incoming))])


def seen_by(incoming: Incoming) -> Seen:
    """What the principal of a request may see."""
    return partial(incoming.may, "items:read")


def described(kernel: Kernel, kind: str, name: str, seen: Seen | None) -> dict[str, Any]:
    """What `meta` tells of an upstream or server, counts only of what is `seen`; nothing of other kinds."""
    snapshot = kernel.catalog.snapshot
    if kind == "upstreams" and (upstream := snapshot.upstreams.get(name)):
        return _discovered(kernel, upstream, seen or bool).model_dump(exclude=None if seen else {"items", "problems"})
    if kind == "servers" and (server := snapshot.servers.get(name)):
        return {"path": f"/servers/{name}/mcp", **(_counts(server, seen) if seen else {})}
    return {}


def _counts(server: ShownServer, seen: Seen) -> dict[str, int]:
    counts = {f"{kind}s": sum(seen(one.item.canonical) for one in server.listed(kind)) for kind in ITEM_KINDS}
    return {"collisions": len(_collisions(server, seen)), **counts}


def _collisions(server: ShownServer, seen: Seen) -> list[Collision]:
    """Those between items that are seen."""
    found = (msgspec.structs.replace(one, items=tuple(filter(seen, one.items))) for one in server.collisions)
    return [one for one in found if len(one.items) > 1]


def _discovered(kernel: Kernel, view: UpstreamView, seen: Seen) -> Discovered:
    discovery = view.discovery
    count = sum(seen(item.canonical) for item in discovery.items) if discovery else 0
    problems = discovery.problems if discovery and count == len(discovery.items) else ()
    return Discovered(
        status=view.status,
        note=NOTES[view.status] if view.upstream.settings.enabled else "registered, but disabled; it is not contacted",
        error=kernel.redact(view.error),
        problems=[kernel.redact(each) for each in problems],
        since=view.since,
        items=count,
        eras={"modern": discovery.eras.modern, "legacy": discovery.eras.legacy} if discovery else {},
    )


def _shown_by(snapshot: CatalogSnapshot, server: str) -> Iterable[tuple[Item, str | None, bytes]]:
    view = snapshot.servers.get(server)
    if view is None:
        raise NotFound(f"servers has no {server!r}")
    return ((one.item, one.name, one.raw) for kind in ITEM_KINDS for one in view.listed(kind))


def _offered(snapshot: CatalogSnapshot) -> Iterable[tuple[Item, str | None, bytes]]:
    offered = (state.discovery for state in snapshot.upstreams.values() if state.upstream.settings.enabled)
    return ((item, None, item.raw) for discovery in offered if discovery for item in discovery.items)


def _item_report(item: Item, exposed: str | None, raw: bytes) -> ItemReport:
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
