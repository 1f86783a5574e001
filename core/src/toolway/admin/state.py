"""What the API tells besides declared objects: health, items, the state of upstreams and servers, plugins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from toolway.admin.operations import AdminContext, Incoming, Operation, Page, PageQuery, Phase, ReadyCheck, listing
from toolway.admin.problems import document
from toolway.catalog.snapshot import ITEM_KINDS, Snapshot, UpstreamView
from toolway.errors import NotFound
from toolway.hookspecs.routing import Item, ItemKind

log = logging.getLogger(__name__)

CHECK_SECONDS = 2.0

Status = Literal["pending", "up", "down"]
NOTES: dict[Status, str] = {
    "pending": "registered; its items appear as soon as it answers",
    "up": "",
    "down": "registered, but down; it is tried again and again, and comes in when it is up",
}


class Alive(BaseModel):
    """The process runs."""

    status: Literal["ok"] = "ok"


class CheckReport(BaseModel):
    """The result of one check."""

    name: str
    ok: bool
    critical: bool = Field(description="Whether the node is not ready while this fails.")
    detail: str = Field("", description="What is wrong; empty in public answers.")


class Readiness(BaseModel):
    """Whether requests should be sent here."""

    ready: bool
    phase: Phase
    checks: list[CheckReport]


class HealthReport(Readiness):
    """Readiness with details, and what administrators should know."""

    version: str
    snapshot: int = Field(description="Number of the catalog snapshot.")
    problems: list[str] = Field(description="What of the catalog is not in force, and why.")
    upstreams: dict[str, int] = Field(description="How many upstreams have which status.")


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
    since: float = Field(description="Since when it has this status, in seconds since 1970.")
    items: int = Field(description="How many tools, prompts, resources and templates it offers.")
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


async def alive(incoming: Incoming) -> Alive:
    """Tell that the process is alive."""
    return Alive()


async def ready(incoming: Incoming) -> Response:
    """Tell whether requests should be sent here: 503 while starting, draining or when a critical check fails."""
    readiness = await _readiness(incoming.context)
    for check in readiness.checks:
        check.detail = ""
    return document(readiness, 200 if readiness.ready else 503)


async def health(incoming: Incoming) -> HealthReport:
    """Report readiness with details."""
    context = incoming.context
    readiness = await _readiness(context)
    snapshot = context.catalog.snapshot
    states = [view.status for view in snapshot.upstreams.values()]
    return HealthReport(
        **dict(readiness),
        version=context.version,
        snapshot=snapshot.number,
        problems=list(context.catalog.problems),
        upstreams={state: states.count(state) for state in sorted(set(states))},
    )


async def items(incoming: Incoming) -> Page[ItemReport]:
    """List items: what upstreams offer, or what one server shows."""
    snapshot, query = incoming.context.catalog.snapshot, incoming.query
    found = {
        f"{item.canonical}\n{item.kind}": (item, exposed, raw)
        for item, exposed, raw in (_shown_by(snapshot, query.server) if query.server else _offered(snapshot))
        if query.kind in ("", item.kind) and query.upstream in ("", item.upstream)
    }
    return listing(incoming, "items:read", found, lambda one: _item_report(*one))


async def plugins(incoming: Incoming) -> Page[PluginReport]:
    """List plugins: installed, enabled and broken ones."""
    reports = {report["name"]: report for report in incoming.context.plugins()}
    return listing(incoming, "plugins:read", reports, PluginReport.model_validate)


async def refresh(incoming: Incoming) -> Discovered:
    """Discover an upstream now and wait for the result."""
    catalog = incoming.context.catalog
    await catalog.refresh(incoming.name)
    return _discovered(catalog.snapshot.upstreams[incoming.name])


async def collisions(incoming: Incoming) -> Page[CollisionReport]:
    """Report the names that items of a server share."""
    view = incoming.context.catalog.snapshot.servers.get(incoming.name)
    if view is None:
        raise NotFound(f"servers has no {incoming.name!r}")
    return Page(items=[CollisionReport.model_validate(one) for one in view.collisions])


KERNEL_OPERATIONS = (
    Operation("GET", "/health", None, alive, answer=Alive),
    Operation("GET", "/ready", None, ready, answer=Readiness, success=(200, 503)),
    Operation("GET", "/api/v1/health", "health:read", health, answer=HealthReport),
    Operation("GET", "/api/v1/items", "items:read", items, None, ItemQuery, Page[ItemReport], filters=True),
    Operation("GET", "/api/v1/plugins", "plugins:read", plugins, None, PageQuery, Page[PluginReport], filters=True),
    Operation("POST", "/api/v1/upstreams/{name}/refresh", "upstreams:refresh", refresh, answer=Discovered),
    Operation("GET", "/api/v1/servers/{name}/collisions", "servers:read", collisions, answer=Page[CollisionReport]),
)


def described(snapshot: Snapshot, kind: str, name: str) -> dict[str, Any]:
    """What `meta` tells of an upstream or server; nothing of other kinds."""
    if kind == "upstreams" and (upstream := snapshot.upstreams.get(name)):
        return _discovered(upstream).model_dump()
    if kind == "servers" and (server := snapshot.servers.get(name)):
        counts = {f"{item}s": len(server.listed(item)) for item in ITEM_KINDS}
        return {"path": f"/servers/{name}/mcp", "collisions": len(server.collisions), **counts}
    return {}


def _discovered(view: UpstreamView) -> Discovered:
    discovery = view.discovery
    return Discovered(
        status=view.status,
        note=NOTES[view.status] if view.upstream.settings.enabled else "registered, but disabled; it is not contacted",
        error=view.error,
        since=view.since,
        items=len(discovery.items) if discovery else 0,
        eras={"modern": discovery.eras.modern, "legacy": discovery.eras.legacy} if discovery else {},
    )


def _shown_by(snapshot: Snapshot, server: str) -> Iterable[tuple[Item, str | None, bytes]]:
    view = snapshot.servers.get(server)
    if view is None:
        raise NotFound(f"servers has no {server!r}")
    return ((one.item, one.name, one.raw) for kind in ITEM_KINDS for one in view.listed(kind))


def _offered(snapshot: Snapshot) -> Iterable[tuple[Item, str | None, bytes]]:
    entries = (entry for parsed in snapshot.parsed.values() if parsed for entry in parsed.entries)
    return ((entry.item, None, entry.item.raw) for entry in entries)


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


async def _readiness(context: AdminContext) -> Readiness:
    """A catalog that cannot be loaded is only told while an older one is in force."""
    failure, is_first = context.catalog.failure, context.catalog.snapshot.number == 0
    catalog = CheckReport(name="catalog", ok=not failure, critical=is_first, detail=failure)
    checks = [catalog, *await asyncio.gather(*(_checked(check) for check in context.checks))]
    phase = context.phase()
    is_ready = phase == "serving" and all(check.ok or not check.critical for check in checks)
    return Readiness(ready=is_ready, phase=phase, checks=checks)


async def _checked(check: ReadyCheck) -> CheckReport:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            detail = await check.check()
    except TimeoutError:
        detail = f"no answer within {CHECK_SECONDS:g} s"
    except Exception:
        log.exception("health check %r failed", check.name)
        detail = "the check itself failed; the log says why"
    return CheckReport(name=check.name, ok=not detail, critical=check.critical, detail=detail)
