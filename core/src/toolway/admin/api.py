"""The admin API as Starlette routes: every operation of the kernel's and the plugins' collections, and its document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from toolway.admin import health, items, plugins, upstreams
from toolway.admin.collections import Collection, Describe
from toolway.admin.context import AdminContext
from toolway.admin.openapi import openapi
from toolway.admin.operations import Incoming, Operation, operation, routes
from toolway.admin.problems import problem
from toolway.errors import NotFound
from toolway.hookspecs.system import Entity

KERNEL_OPERATIONS: tuple[Operation, ...] = (
    health.alive,
    health.ready,
    health.health,
    items.items,
    plugins.plugins,
    upstreams.refresh,
    upstreams.collisions,
)

DESCRIBED: dict[str, Describe] = {"upstreams": upstreams.describe_upstream, "servers": upstreams.describe_server}


def admin_operations(context: AdminContext, more: Sequence[Operation] = ()) -> list[Operation]:
    """All operations: those of the kernel, of each entity, and `more`."""
    described = [*KERNEL_OPERATIONS, *more]
    for entity in context.entities:
        described += _collection(context, entity).operations()
    document: dict[str, Any] = {}

    @operation("GET", "/api/v1/openapi.json", None)
    async def openapi_document(incoming: Incoming) -> dict[str, Any]:
        """Describe this API in OpenAPI 3.1."""
        if not document:
            document.update(openapi(described, context.version))
        return document

    described.append(openapi_document)
    return described


def admin_routes(context: AdminContext, more: Sequence[Operation] = ()) -> list[BaseRoute]:
    """`/health`, `/ready` and everything under `/api/v1`, where unknown paths are answered too."""
    return [*routes(context, admin_operations(context, more)), Route("/api/v1/{rest:path}", UnknownPath())]


class UnknownPath:
    """Answers for paths of the API that do not exist."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 404."""
        error = NotFound(f"there is no {scope['path']}; /api/v1/openapi.json lists what there is")
        await problem(error)(scope, receive, send)


def _collection(context: AdminContext, entity: Entity) -> Collection:
    describe = DESCRIBED.get(entity.kind, _nothing)
    changed = context.catalog.reload if entity.kind in DESCRIBED else _no_more_to_do
    return Collection(entity, describe, changed)


def _nothing(incoming: Incoming, name: str) -> dict[str, Any]:
    return {}


async def _no_more_to_do() -> None:
    return None
