"""A document cannot hold the gateway up, and cannot put credentials where only the gateway writes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from books import book, operation, tool

from toolway_rest.requests import authenticate, prepare


@pytest.fixture(autouse=True)
def soon() -> Iterator[None]:
    begun = time.process_time()
    yield
    assert time.process_time() - begun < 8


def answering(schema: dict[str, Any]) -> dict[str, Any]:
    return operation(responses={"200": {"content": {"application/json": {"schema": schema}}}})


def test_schemas_that_branch_into_themselves_are_read_once() -> None:
    loop = {"$ref": "#/components/schemas/Loop"}

    made = book(answering(loop), {"schemas": {"Loop": {"allOf": [loop, loop, {"oneOf": [loop, loop]}]}}})

    assert made.operations["do"].wraps


def test_names_that_are_all_the_same_are_told_apart() -> None:
    paths = {f"/a{n}": {"get": {"operationId": "a" * 60 + "é"}} for n in range(8000)}

    made = book(paths, max_tools=5000)

    assert len({item.name for item in made.items}) == 5000
    assert max(len(item.name) for item in made.items) <= 64


def test_a_body_that_many_operations_share_is_not_written_again_and_again() -> None:
    huge = {"type": "object", "properties": {f"p{n}": {"type": "object", "title": "x"} for n in range(50_000)}}
    body = {"content": {"application/json": {"schema": huge}}}
    paths = {f"/a{n}": {"post": {"requestBody": {"$ref": "#/components/requestBodies/Huge"}}} for n in range(100)}

    made = book(paths, {"requestBodies": {"Huge": body}}, max_schema=4096)

    assert len(made.items) == 100
    assert max(len(each.input_schema) for each in made.operations.values()) <= 4096


def test_more_parameters_than_anything_has_are_refused() -> None:
    made = book(operation(parameters=[{"name": f"p{n}", "in": "query"} for n in range(1001)]))

    assert made.problems == ("upstream 'api': POST /a is left out: it has more than 1000 parameters",)


@pytest.mark.parametrize("name", ["Host", "X-Forwarded-For", "Content-Length", "Transfer-Encoding", "X\r\nY", ""])
def test_no_credential_goes_into_a_header_of_the_gateway(name: str) -> None:
    schemes = {"key": {"type": "apiKey", "in": "header", "name": name}}

    made = book(operation(security=[{"key": []}]), {"securitySchemes": schemes}, credentials={"key": "env:K"})

    assert not made.schemes and "no scheme 'key'" in made.problems[0]


def test_no_argument_stays_beside_a_credential_of_its_name() -> None:
    schemes = {"key": {"type": "apiKey", "in": "query", "name": "api[key]"}}
    parameters = [{"name": "api[key]", "in": "query", "allowReserved": True}]
    found = book(operation(parameters=parameters, security=[{"key": []}]), {"securitySchemes": schemes})
    prepared = prepare(found.operations["do"], {"api_key": "mine"})

    made = book(operation(security=[{"key": []}]), {"securitySchemes": schemes}, credentials={"key": "env:K"})
    authenticate(prepared, made.schemes["key"], "secret")

    assert prepared.query == [("api%5Bkey%5D", "secret")]


def test_patterns_that_not_everybody_can_read_are_left_out() -> None:
    patterns = [r"^a+$", r"(?i)a", r"^\p{XDigit}$", r"\Aa\Z", "(", r"^(?!x)a", ["a"], "^.{0,262144}$"]
    parameters = [{"name": f"p{n}", "in": "query", "schema": {"pattern": each}} for n, each in enumerate(patterns)]

    properties = tool(book(operation(parameters=parameters)))["inputSchema"]["properties"]

    assert [name for name, schema in properties.items() if "pattern" in schema] == ["p0"]


def test_wrong_values_of_keywords_spoil_no_schema() -> None:
    wrong = {
        "type": "file",
        "enum": {},
        "minLength": -1,
        "maxItems": 1.5,
        "title": 0,
        "required": True,
        "format": 3,
        "multipleOf": 0,
        "minimum": "1",
        "uniqueItems": "no",
        "allOf": [],
        "default": None,
        "items": 7,
    }

    entry = tool(book(operation(parameters=[{"name": "x", "in": "query", "schema": wrong}])))

    assert entry["inputSchema"]["properties"]["x"] == {"items": {}}
