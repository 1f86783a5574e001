"""The admin API as Starlette routes and as an OpenAPI 3.1 document, both made from its operations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import TypeAdapter
from starlette.routing import Route

from toolway.admin.collections import Collection
from toolway.admin.endpoint import adapter_of, routes
from toolway.admin.operations import AdminContext, Incoming, Operation
from toolway.admin.problems import MEDIA_TYPE, Problem
from toolway.admin.state import KERNEL_OPERATIONS

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_ETAG = {"ETag": {"schema": {"type": "string"}, "description": "Revision of the object, for `If-Match`."}}
_IF_MATCH = {"name": "If-Match", "in": "header", "schema": {"type": "string"}}


def admin_routes(context: AdminContext) -> list[Route]:
    """`/health`, `/ready` and everything under `/api/v1`."""
    return routes(context, admin_operations(context))


def admin_operations(context: AdminContext) -> list[Operation]:
    """All operations: those of the kernel and of each entity, and the one that describes them."""
    described = [*KERNEL_OPERATIONS, *(each for entity in context.entities for each in Collection(entity).operations())]
    document: dict[str, Any] = {}

    async def openapi_document(incoming: Incoming) -> dict[str, Any]:
        """Describe this API in OpenAPI 3.1."""
        if not document:
            document.update(openapi(described, context.version))
        return document

    described.append(Operation("GET", "/api/v1/openapi.json", None, openapi_document, answer=dict[str, Any]))
    return described


def openapi(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    schemas, components = _schemas(operations)
    paths: dict[str, Any] = {}
    for one in sorted(operations, key=lambda one: (one.path, one.method)):
        paths.setdefault(_PARAMETER.sub(r"{\1}", one.path), {})[one.method.lower()] = _operation(one, schemas)
    bearer = {"bearer": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Toolway admin API", "version": version or "0"},
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": bearer},
    }


Schemas = dict[tuple[str, str], Any]
"""By an operation's id and the role of the schema there: `body`, `answer` or `query`."""


def _schemas(operations: Iterable[Operation]) -> tuple[Schemas, dict[str, Any]]:
    """The schema of each body, answer and query, and the components that they refer to."""
    inputs: list[Any] = [(("", "problem"), "serialization", TypeAdapter(Problem))]
    for one in operations:
        for role, mode in (("body", "validation"), ("query", "validation"), ("answer", "serialization")):
            if (schema := getattr(one, role)) is not None:
                inputs.append(((one.id, role), mode, adapter_of(schema)))
    by_key, shared = TypeAdapter.json_schemas(inputs, ref_template="#/components/schemas/{model}")
    return {key: schema for (key, _), schema in by_key.items()}, shared.get("$defs", {})


def _operation(one: Operation, schemas: Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": one.id,
        "summary": one.summary,
        "tags": [one.permission.partition(":")[0] if one.permission else "public"],
        "parameters": _parameters(one, schemas[one.id, "query"]),
        "responses": {"default": _content("An error.", schemas["", "problem"], MEDIA_TYPE)},
        **({"x-permission": one.permission} if one.permission else {"security": []}),
    }
    if one.body is not None:
        described["requestBody"] = {"required": True, **_content("", schemas[one.id, "body"])}
    for status in one.success:
        answer = _content(one.summary, schemas[one.id, "answer"]) if one.answer else {"description": one.summary}
        described["responses"][str(status)] = answer | ({"headers": _ETAG} if one.conditional and one.answer else {})
    return described


def _parameters(one: Operation, query: dict[str, Any]) -> list[dict[str, Any]]:
    named = {"in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    in_query = (
        {"name": name, "in": "query", "schema": member, "description": member.get("description", "")}
        for name, member in query.get("properties", {}).items()
    )
    in_path = ({"name": name, **named} for name in _PARAMETER.findall(one.path))
    return [*in_path, *in_query, *([_IF_MATCH] if one.conditional else ())]


def _content(description: str, schema: Any, media_type: str = "application/json") -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": schema}}}
