"""Schemas of documents as JSON Schema 2020-12, within their bounds."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from books import book, operation, taking, tool
from jsonschema_rs import Draft202012Validator


def test_schemas_are_json_schema_2020_12() -> None:
    schema = {
        "type": "object",
        "required": ["id", "name"],
        "properties": {
            "id": {"type": "integer", "readOnly": True},
            "name": {"type": "string", "nullable": True, "enum": ["a"], "example": "a", "x-internal": 1},
            "size": {"type": "number", "minimum": 0, "exclusiveMinimum": True, "xml": {}},
            "far": {"$ref": "https://example.com/schema.json"},
        },
    }

    body: dict[str, Any] = taking(schema)["properties"]["body"]

    assert body["required"] == ["name"]
    assert body["properties"] == {
        "name": {"type": ["string", "null"], "enum": ["a", None]},
        "size": {"type": "number", "exclusiveMinimum": 0},
        "far": {},
    }


def test_a_schema_that_contains_itself_is_kept() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Node"}, "deep": {"type": "string"}}}

    schema = taking({"$ref": "#/components/schemas/Node"}, {"Node": node})

    assert schema["properties"]["body"] == {"$ref": "#/$defs/Node"}
    assert schema["$defs"]["Node"]["properties"]["next"] == {"$ref": "#/$defs/Node"}
    assert Draft202012Validator(schema).is_valid({"body": {"next": {"next": {}}}})
    assert not Draft202012Validator(schema).is_valid({"body": {"next": {"next": {"deep": 1}}}})


def test_a_large_schema_is_shortened_from_the_far_end() -> None:
    chain = {
        f"Level{n}": {
            "type": "object",
            "description": "x" * 300,
            "properties": {"next": {"$ref": f"#/components/schemas/Level{n + 1}"}, **{f"p{i}": {} for i in range(20)}},
        }
        for n in range(50)
    }
    schemas = {**chain, "Level50": {"type": "string"}}

    schema = taking({"$ref": "#/components/schemas/Level0"}, schemas, max_schema=2048)

    assert len(msgspec.json.encode(schema)) <= 2048 + 64
    assert "description" not in schema["$defs"]["Level0"] and "p19" in schema["$defs"]["Level0"]["properties"]
    assert list(schema["$defs"].values())[-1] == {}
    wide = {"type": "object", "properties": {f"property{n}": {"type": "object", "properties": {}} for n in range(500)}}
    assert taking(wide, max_schema=512)["type"] == "object"


def test_a_schema_without_end_of_depth_is_cut() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(300):
        schema = {"type": "array", "items": schema}

    assert taking(schema)["properties"]["body"]["type"] == "array"


def test_what_is_only_read_is_not_asked_for_however_it_says_so() -> None:
    schemas = {"Id": {"type": "integer", "readOnly": True}, "Owner": {"type": "object"}}
    schema = {
        "type": "object",
        "required": ["id", "owner", "name"],
        "properties": {
            "id": {"$ref": "#/components/schemas/Id"},
            "owner": {"allOf": [{"$ref": "#/components/schemas/Owner"}, {"readOnly": True}]},
            "name": {"type": "string"},
        },
    }

    body: dict[str, Any] = taking(schema, schemas)["properties"]["body"]

    assert body == {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}


def test_an_argument_is_asked_for_even_where_its_schema_is_only_read() -> None:
    parameters = [{"name": "number", "in": "query", "schema": {"$ref": "#/components/schemas/Number"}}]

    entry = tool(book(operation(parameters=parameters), {"schemas": {"Number": {"readOnly": True}}}))

    assert list(entry["inputSchema"]["properties"]) == ["number"]


def test_a_discriminator_decides_which_schema_is_meant() -> None:
    pets = {
        "Cat": {"type": "object", "properties": {"kind": {"type": "string"}, "lives": {"type": "integer"}}},
        "Dog": {"type": "object", "properties": {"kind": {"type": "string"}}},
    }
    choices = [{"$ref": f"#/components/schemas/{name}"} for name in pets]
    told = {"propertyName": "kind", "mapping": {"cat": "#/components/schemas/Cat"}}

    schema = taking({"oneOf": choices, "discriminator": told}, pets)

    assert schema["properties"]["body"]["properties"] == {"kind": {"enum": ["cat", "Dog"]}}
    assert Draft202012Validator(schema).is_valid({"body": {"kind": "cat"}})


def test_null_is_accepted_where_openapi_3_0_says_nullable() -> None:
    owner = {"Owner": {"type": "object"}}
    reference = {"$ref": "#/components/schemas/Owner"}
    schema = {"properties": {"a": {"allOf": [reference], "nullable": True}, "b": {"type": "null", "nullable": True}}}

    validator = Draft202012Validator(taking(schema, owner))

    assert validator.is_valid({"body": {"a": None, "b": None}})
    assert not validator.is_valid({"body": {"a": 1}})


@pytest.mark.parametrize("narrowing", ["oneOf", "not", "if"])
def test_what_is_shortened_refuses_nothing_that_is_right(narrowing: str) -> None:
    def choice(name: str) -> dict[str, Any]:
        inner = {"type": "object", "properties": {"kind": {"const": name}, "note": {"description": "x" * 400}}}
        return {"type": "object", "properties": {"deep": {"properties": {"deeper": {"properties": {"a": inner}}}}}}

    words = {"oneOf": [choice("a"), choice("b")], "not": choice("c"), "if": choice("a"), "then": {"required": ["more"]}}
    used = {key: value for key, value in words.items() if key == narrowing or (narrowing == "if" and key == "then")}

    schema = taking(used, max_schema=512)

    assert Draft202012Validator(schema).is_valid({"body": {"deep": {"deeper": {"a": {"kind": "b"}}}}})


def test_what_every_value_fits_narrows_nothing() -> None:
    elsewhere = {"$ref": "other.yaml#/Pet"}

    schema = taking({"not": elsewhere, "oneOf": [elsewhere, elsewhere], "if": elsewhere, "else": False})

    assert Draft202012Validator(schema).is_valid({"body": {"name": "Tom"}})
    assert schema["properties"]["body"] == {"anyOf": [{}, {}]}
