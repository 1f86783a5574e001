"""Small documents as books of tools."""

from __future__ import annotations

import json
from typing import Any

from jsonschema_rs import Draft202012Validator

from toolway_rest.builder import build
from toolway_rest.document import Document
from toolway_rest.operations import Book
from toolway_rest.settings import RestUpstream


def book(paths: dict[str, Any], components: dict[str, Any] | None = None, **settings: Any) -> Book:
    root = {"openapi": "3.0.3", "paths": paths, "components": components or {}}
    where = {"name": "api", "endpoints": ("https://api.example",), "document": "x.json"}
    return build(RestUpstream.model_validate({**where, **settings}), Document(root))


def operation(**members: Any) -> dict[str, Any]:
    return {"/a": {"post": {"operationId": "do", **members}}}


def tool(made: Book, name: str = "do") -> dict[str, Any]:
    entry: dict[str, Any] = next(json.loads(item.raw) for item in made.items if item.name == name)
    Draft202012Validator(entry["inputSchema"])
    return entry


def taking(schema: dict[str, Any], schemas: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    """The input schema of a tool with that body."""
    body = {"content": {"application/json": {"schema": schema}}}
    made: dict[str, Any] = tool(book(operation(requestBody=body), {"schemas": schemas or {}}, **settings))[
        "inputSchema"
    ]
    return made
