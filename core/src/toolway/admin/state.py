"""What the API tells besides declared objects: discovered upstreams, collisions, refresh, and the plugins."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from toolway.admin.operations import Incoming, operation
from toolway.admin.pages import Page, PageQuery, listing
from toolway.catalog.snapshot import ITEM_KINDS, Snapshot, UpstreamView
from toolway.errors import NotFound


class Discovered(BaseModel):
    """The state of an upstream."""

    status: Literal["pending", "up", "down"] = Field(description="Whether the last discovery succeeded.")
    error: str = Field(description="Why it is down; empty otherwise.")
    since: float = Field(description="Since when it has this status, in seconds since 1970.")
    items: int = Field(description="How many tools, prompts, resources and templates it offers.")
    eras: dict[str, str | None] = Field(description="The protocol version it speaks in each era.")


class CollisionReport(BaseModel):
    """Items of one server that want the same name."""

    model_config = ConfigDict(from_attributes=True)

    kind: Literal["tool", "prompt", "resource", "template"] = Field(description="What they are.")
    name: str = Field(description="The name or URI that they share.")
    items: list[str] = Field(description="Their canonical names, such as `ServerA/toolX`.")
    resolved: Literal["error", "prefix", "uri"] = Field(
        description="`error`: all left out; `prefix`: prefixed with the upstream; `uri`: in the gateway's own form."
    )


class PluginReport(BaseModel):
    """One plugin; what else is told is the host's matter."""

    model_config = ConfigDict(extra="allow")

    name: str


def described(snapshot: Snapshot, kind: str, name: str) -> dict[str, Any]:
    """What `meta` tells of an upstream or server; nothing of other kinds."""
    if kind == "upstreams" and (upstream := snapshot.upstreams.get(name)):
        return _discovered(upstream).model_dump()
    if kind == "servers" and (server := snapshot.servers.get(name)):
        counts = {f"{item}s": len(server.listed(item)) for item in ITEM_KINDS}
        return {"path": f"/servers/{name}/mcp", "collisions": len(server.collisions), **counts}
    return {}


@operation("POST", "/api/v1/upstreams/{name}/refresh", "upstreams:refresh")
async def refresh(incoming: Incoming) -> Discovered:
    """Discover an upstream now and wait for the result."""
    catalog = incoming.context.catalog
    await catalog.refresh(incoming.name)
    return _discovered(catalog.snapshot.upstreams[incoming.name])


@operation("GET", "/api/v1/servers/{name}/collisions", "servers:read")
async def collisions(incoming: Incoming) -> Page[CollisionReport]:
    """Report the names that items of a server share."""
    view = incoming.context.catalog.snapshot.servers.get(incoming.name)
    if view is None:
        raise NotFound(f"servers has no {incoming.name!r}")
    return Page(items=[CollisionReport.model_validate(one) for one in view.collisions])


@operation("GET", "/api/v1/plugins", "plugins:read", filters=True)
async def plugins(incoming: Incoming, query: PageQuery) -> Page[PluginReport]:
    """List plugins: installed, enabled and broken ones."""
    reports = {report["name"]: report for report in incoming.context.plugins()}
    return listing(incoming, "plugins:read", reports, query, PluginReport.model_validate)


def _discovered(view: UpstreamView) -> Discovered:
    discovery = view.discovery
    return Discovered(
        status=view.status,
        error=view.error,
        since=view.since,
        items=len(discovery.items) if discovery else 0,
        eras={"modern": discovery.eras.modern, "legacy": discovery.eras.legacy} if discovery else {},
    )
