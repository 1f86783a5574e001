"""The OpenAPI 3.1 document of the REST API, made from its operations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import TypeAdapter

from toolway.bundled.api.endpoint import Reader
from toolway.hookspecs.api import PROBLEM_TYPE, PUBLIC, Operation, Problem, adapter_of

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_ETAG = {"ETag": {"schema": {"type": "string"}, "description": "Revision of the object, for `If-Match`."}}
_IF_MATCH = {"name": "If-Match", "in": "header", "schema": {"type": "string"}}


def openapi(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    schemas, components = _schemas(operations)
    paths: dict[str, Any] = {}
    for one in sorted(operations, key=lambda one: (one.path, one.method)):
        paths.setdefault(_PARAMETER.sub(r"{\1}", one.path), {})[one.method.lower()] = _operation(one, schemas)
    bearer = {"bearer": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Toolway REST API", "version": version or "0"},
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
        "tags": [one.permission.partition(":")[0]],
        "parameters": _parameters(one, schemas[one.id, "query"]),
        "responses": {"default": _content("An error.", schemas["", "problem"], PROBLEM_TYPE)},
        **({"security": []} if one.permission == PUBLIC else {"x-permission": one.permission}),
    }
    if one.body is not None:
        is_required = one.method != "POST" or not Reader(one.body).takes_nothing()
        described["requestBody"] = {"required": is_required, **_content("", schemas[one.id, "body"])}
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
