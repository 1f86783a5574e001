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
_IF_MATCH = {"name": "If-Match", "in": "header", "schema": {"type": "string"}, "description": "The object's `ETag`."}
_IN_PATH = {"in": "path", "required": True, "schema": {"type": "string", "pattern": r"^[^\u0000-\u001f\u007f]+$"}}


def openapi(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    schemas, components = _schemas(operations)
    paths: dict[str, Any] = {}
    for one in sorted(operations, key=lambda one: (one.path, one.method)):
        paths.setdefault(_PARAMETER.sub(r"{\1}", one.path), {})[one.method.lower()] = _operation(one, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Toolway REST API", "version": version or "0"},
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
    }


Schemas = dict[tuple[str, str], Any]
"""By an operation's id and the role of the schema there: `body`, `answer` or `query`."""


def _schemas(operations: Iterable[Operation]) -> tuple[Schemas, dict[str, Any]]:
    """The schema of each body, answer and query, and the components that they refer to."""
    inputs: list[Any] = [(("", "problem"), "serialization", TypeAdapter(Problem))]
    for one in operations:
        for role, mode in (("body", "validation"), ("query", "validation"), ("answer", "serialization")):
            if (schema := getattr(one, role)) is not None and not isinstance(schema, str):
                inputs.append(((one.id, role), mode, adapter_of(schema)))
    by_key, shared = TypeAdapter.json_schemas(inputs, ref_template="#/components/schemas/{model}")
    return {key: schema for (key, _), schema in by_key.items()}, shared.get("$defs", {})


def _operation(one: Operation, schemas: Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": one.id,
        "summary": one.summary,
        "tags": [one.permission.partition(":")[0]],
        "parameters": _parameters(one),
        "responses": {str(status): _answer(one, schemas) for status in one.success},
        **({"security": []} if one.permission == PUBLIC else {"x-permission": one.permission}),
    }
    described["responses"]["default"] = problem = _content("An error.", schemas["", "problem"], PROBLEM_TYPE)
    if one.answer == "text/html":  # people read it, errors too
        problem["content"]["text/html"] = {}
    if one.body is not None:
        is_required = one.method != "POST" or not Reader(one.body).takes_nothing()
        described["requestBody"] = {"required": is_required, **_content("", schemas[one.id, "body"])}
    return described


def _answer(one: Operation, schemas: Schemas) -> dict[str, Any]:
    if isinstance(one.answer, str):
        return {"description": one.summary, "content": {each: {} for each in one.answer.split(", ")}}
    described = _content(one.summary, schemas[one.id, "answer"]) if one.answer else {"description": one.summary}
    return described | ({"headers": _ETAG} if one.conditional and one.answer else {})


def _parameters(one: Operation) -> list[dict[str, Any]]:
    in_path = [{"name": name, "description": f"The {name}.", **_IN_PATH} for name in _PARAMETER.findall(one.path)]
    query = adapter_of(one.query).json_schema(ref_template="#/components/schemas/{model}")
    must = query.get("required", ())
    in_query = [
        {"name": key, "in": "query", "required": key in must, "schema": it, "description": it.get("description", "")}
        for key, it in query.get("properties", {}).items()
    ]
    return [*in_path, *in_query, *([_IF_MATCH] if one.conditional else ())]


def _content(description: str, schema: Any, media_type: str = "application/json") -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": schema}}}
