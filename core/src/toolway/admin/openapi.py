"""The OpenAPI 3.1 document of the admin API, made from its operations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import TypeAdapter

from toolway.admin.bodies import adapter_of
from toolway.admin.operations import Operation
from toolway.admin.problems import MEDIA_TYPE, Problem

_REF = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_HEADERS = {"ETag": {"schema": {"type": "string"}, "description": "Revision of the object, for `If-Match`."}}


def openapi(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The whole document."""
    schemas, components = _schemas(operations)
    paths: dict[str, Any] = {}
    for one in sorted(operations, key=lambda one: (one.path, one.method)):
        paths.setdefault(_PARAMETER.sub(r"{\1}", one.path), {})[one.method.lower()] = _operation(one, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Toolway admin API", "version": version or "0"},
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


Key = tuple[str, str]
"""An operation's id and the role of the schema there: `body`, `answer` or `query`."""


def _schemas(operations: Iterable[Operation]) -> tuple[dict[Key, Any], dict[str, Any]]:
    """The schema of each body, answer and query, and the components that they refer to."""
    inputs: list[tuple[Key, Any, TypeAdapter[Any]]] = [(("", "problem"), "serialization", TypeAdapter(Problem))]
    for one in operations:
        modes = {"body": "validation", "query": "validation", "answer": "serialization"}
        given = ((role, mode) for role, mode in modes.items() if getattr(one, role) is not None)
        inputs += [((one.id, role), mode, adapter_of(getattr(one, role))) for role, mode in given]
    by_key, shared = TypeAdapter.json_schemas(inputs, ref_template=_REF)
    return {key: schema for (key, _), schema in by_key.items()}, shared.get("$defs", {})


def _operation(one: Operation, schemas: dict[Key, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": one.id,
        "summary": one.summary,
        "tags": [one.permission.partition(":")[0] if one.permission else "public"],
        "parameters": [*_path_parameters(one), *_query_parameters(schemas.get((one.id, "query"), {}))],
        "responses": _responses(one, schemas),
    }
    if one.permission is None:
        described["security"] = []
    else:
        described["x-permission"] = one.permission
    if one.conditional:
        described["parameters"].append({"name": "If-Match", "in": "header", "schema": {"type": "string"}})
    if (body := schemas.get((one.id, "body"))) is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return described


def _path_parameters(one: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(one.path)
    ]


def _query_parameters(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "required": False, "schema": member, "description": member.get("description", "")}
        for name, member in schema.get("properties", {}).items()
    ]


def _responses(one: Operation, schemas: dict[Key, Any]) -> dict[str, Any]:
    problem = {"description": "An error.", "content": {MEDIA_TYPE: {"schema": schemas["", "problem"]}}}
    responses: dict[str, Any] = {"default": problem}
    for status in one.success:
        success: dict[str, Any] = {"description": one.summary}
        if status != 204:
            answer = schemas.get((one.id, "answer"), {"type": "object"})
            success["content"] = {"application/json": {"schema": answer}}
        if one.conditional and status != 204:
            success["headers"] = _HEADERS
        responses[str(status)] = success
    return responses
