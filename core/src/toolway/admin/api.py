"""The admin API as Starlette routes: every operation of the kernel's and the plugins' collections, and its document."""

from __future__ import annotations

from typing import Any

from starlette.routing import Route

from toolway.admin import health, items, state
from toolway.admin.collections import Collection
from toolway.admin.context import AdminContext
from toolway.admin.openapi import openapi
from toolway.admin.operations import Incoming, Operation, operation, routes

KERNEL_OPERATIONS: tuple[Operation, ...] = (
    health.alive,
    health.ready,
    health.health,
    items.items,
    state.plugins,
    state.refresh,
    state.collisions,
)


def admin_operations(context: AdminContext) -> list[Operation]:
    """All operations: those of the kernel and of each entity."""
    described = [*KERNEL_OPERATIONS]
    for entity in context.entities:
        described += Collection(entity).operations()
    document: dict[str, Any] = {}

    @operation("GET", "/api/v1/openapi.json", None)
    async def openapi_document(incoming: Incoming) -> dict[str, Any]:
        """Describe this API in OpenAPI 3.1."""
        if not document:
            document.update(openapi(described, context.version))
        return document

    described.append(openapi_document)
    return described


def admin_routes(context: AdminContext) -> list[Route]:
    """`/health`, `/ready` and everything under `/api/v1`."""
    return routes(context, admin_operations(context))
