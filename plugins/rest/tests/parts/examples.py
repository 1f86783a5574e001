"""Generates values that fit a schema, well enough for the documents of the tests."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Resolve = Callable[[dict[str, Any]], dict[str, Any]]

FORMATS = {
    "date-time": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "uuid": "01234567-89ab-4cde-8f01-23456789abcd",
    "uri": "https://example.com/x",
    "email": "a@example.com",
    "ipv4": "192.0.2.1",
}
NAMES = (
    *("name", "abc-123", "0a:1b", "example.com", "192.0.2.1", "#a1b2c3", "a", "1", "tag:x", "/a", "5m", "w"),
    *(
        "do:droplet:1",
        "0" * 40,
        "refs/heads/a",
        "first",
        "top",
        "https://a.example",
        "ssh-rsa AAAA",
        "01234567-89ab-4cde-8f01-23456789abcd",
    ),
)


def example(schema: Any, resolve: Resolve, direction: str, depth: int = 0) -> Any:
    """A value with everything that is required, and near the top with all other members too."""
    if not isinstance(schema, dict) or depth > 24:
        return {}
    schema = flat(schema, resolve, 0)
    if schema.get("const") is not None or _is_one(schema.get("default"), schema):
        return schema.get("const", schema.get("default"))
    if schema.get("enum"):
        return next((each for each in schema["enum"] if each), schema["enum"][0])
    return _plain(schema, resolve, direction, depth)


def _is_one(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a default is a value of its type; documents have others."""
    kinds = {"string": str, "boolean": bool, "integer": int, "number": int | float, "array": list, "object": dict}
    kind = schema.get("type")
    return value is not None and isinstance(value, kinds.get(kind, object) if isinstance(kind, str) else object)


def flat(schema: Any, resolve: Resolve, depth: int) -> dict[str, Any]:
    """The schema with all of `allOf` and the first of `anyOf` and `oneOf` put into one."""
    schema = resolve(schema) if isinstance(schema, dict) else {}
    schema = schema if isinstance(schema, dict) else {}
    own = {key: value for key, value in schema.items() if key not in ("allOf", "anyOf", "oneOf")}
    parts = [*schema.get("allOf", ()), *schema.get("anyOf", ())[:1], *schema.get("oneOf", ())[:1]]
    for part in parts if depth < 12 else ():
        other = flat(part, resolve, depth + 1)
        properties = {**own.get("properties", {})}
        for name, each in other.get("properties", {}).items():
            properties[name] = {"allOf": [properties[name], each]} if name in properties else each
        required = [*own.get("required", ()), *other.get("required", ())]
        own = {**own, **other, "properties": properties, "required": required}
    return {key: value for key, value in own.items() if value or key not in ("properties", "required")}


def _plain(schema: dict[str, Any], resolve: Resolve, direction: str, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else None)
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return _object(schema, resolve, direction, depth)
    if kind == "array":
        return [example(schema.get("items", {}), resolve, direction, depth + 1)] * max(schema.get("minItems", 1), 1)
    if kind in ("integer", "number"):
        return int(max(schema.get("minimum", 1), 1 if schema.get("exclusiveMinimum") else 0, schema.get("minimum", 1)))
    if kind == "boolean":
        return True
    return _string(schema) if kind == "string" else None if kind == "null" else {}


def _object(schema: dict[str, Any], resolve: Resolve, direction: str, depth: int) -> dict[str, Any]:
    hidden = "readOnly" if direction == "request" else "writeOnly"
    required = schema.get("required", ())
    wanted = {
        name: each
        for name, each in schema.get("properties", {}).items()
        if (name in required or depth < 3) and each is not False and flat(each, resolve, 0).get(hidden) is not True
    }
    if not wanted:  # forms cannot say that an object is empty
        wanted = {name: each for name, each in list(schema.get("properties", {}).items())[:1] if depth < 12 and each}
    made = {name: example(each, resolve, direction, depth + 1) for name, each in wanted.items()}
    extra = schema.get("additionalProperties")
    for name in required:
        made.setdefault(name, example(extra if isinstance(extra, dict) else {"type": "string"}, resolve, direction, 24))
    optional = {name: each for name, each in schema.get("properties", {}).items() if name not in made}
    possible = optional or {f"more{number}": extra if isinstance(extra, dict) else {} for number in range(9)}
    for name in list(possible)[: max(0, schema.get("minProperties", 0) - len(made))]:
        made[name] = example(possible[name], resolve, direction, depth + 1)
    return made


def _string(schema: dict[str, Any]) -> str:
    if prefixed := re.fullmatch(r"\^\(?([A-Z]{2})[|A-Z)]*\[0-9a-fA-F\]\{32\}\$", schema.get("pattern", "")):
        return prefixed[1] + "0" * 32
    if "pattern" in schema:
        short, long = schema.get("minLength", 0), schema.get("maxLength", 10_000)
        fitting = (each for each in NAMES if re.search(schema["pattern"], each) and short <= len(each) <= long)
        return next(fitting, "name")
    text = FORMATS.get(schema.get("format", ""), "text")
    short, long = int(schema.get("minLength", 0)), int(schema.get("maxLength", 10_000))
    return (text * max(1, -(-short // len(text))))[:long]
