"""What the API adds to the collections of upstreams and servers: their state, refresh and collisions."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from toolway.admin.operations import Incoming, operation
from toolway.catalog.naming import Collision
from toolway.catalog.snapshot import ITEM_KINDS, ServerView, UpstreamView
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

    kind: Literal["tool", "prompt", "resource", "template"] = Field(description="What they are.")
    name: str = Field(description="The name or URI that they share.")
    items: list[str] = Field(description="Their canonical names, such as `ServerA/toolX`.")
    resolved: Literal["error", "prefix", "uri"] = Field(
        description="`error`: all left out; `prefix`: prefixed with the upstream; `uri`: in the gateway's own form."
    )


class CollisionPage(BaseModel):
    """All collisions of one server."""

    model_config = ConfigDict(extra="forbid")

    items: list[CollisionReport]


def describe_upstream(incoming: Incoming, name: str) -> dict[str, Any]:
    """What `meta` tells of an upstream."""
    view = incoming.context.catalog.snapshot.upstreams.get(name)
    return _discovered(view).model_dump() if view else {}


def describe_server(incoming: Incoming, name: str) -> dict[str, Any]:
    """What `meta` tells of a server."""
    view = incoming.context.catalog.snapshot.servers.get(name)
    if view is None:
        return {}
    counts = {f"{kind}s": len(view.listed(kind)) for kind in ITEM_KINDS}
    return {"path": f"/servers/{name}/mcp", "collisions": len(view.collisions), **counts}


@operation("POST", "/api/v1/upstreams/{name}/refresh", "upstreams:refresh")
async def refresh(incoming: Incoming) -> Discovered:
    """Discover an upstream now and wait for the result."""
    await incoming.context.catalog.refresh(incoming.name)
    return _discovered(incoming.context.catalog.snapshot.upstreams[incoming.name])


@operation("GET", "/api/v1/servers/{name}/collisions", "servers:read")
async def collisions(incoming: Incoming) -> CollisionPage:
    """Report the names that items of a server share."""
    view: ServerView | None = incoming.context.catalog.snapshot.servers.get(incoming.name)
    if view is None:
        raise NotFound(f"servers has no {incoming.name!r}")
    return CollisionPage(items=[_collision(one) for one in view.collisions])


def _collision(one: Collision) -> CollisionReport:
    return CollisionReport(kind=one.kind, name=one.name, items=list(one.items), resolved=one.resolved)


def _discovered(view: UpstreamView) -> Discovered:
    discovery = view.discovery
    return Discovered(
        status=view.status,
        error=view.error,
        since=view.since,
        items=len(discovery.items) if discovery else 0,
        eras={"modern": discovery.eras.modern, "legacy": discovery.eras.legacy} if discovery else {},
    )
