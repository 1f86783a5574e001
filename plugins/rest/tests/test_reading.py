"""Documents are read within bounds, and what cannot become a tool is left out with a reason."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from jsonschema_rs import Draft202012Validator

from toolway.plugin import InvalidInput
from toolway_rest.answers import Answer, mismatch, succeeded
from toolway_rest.bodies import written
from toolway_rest.builder import build
from toolway_rest.document import Document, parse
from toolway_rest.operations import Body, Book, Encoding
from toolway_rest.requests import prepare
from toolway_rest.selection import selected
from toolway_rest.settings import RestUpstream
from toolway_rest.shaping import ShapeFailed, Shaper
from toolway_rest.styles import Refused


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


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"{", "no JSON"),
        (b"[1]", "no object"),
        (b"a: [", "no YAML in line 2"),
        (b'{"openapi": "4.0.0"}', "no OpenAPI 3.0 or 3.1"),
        (b'{"swagger": "2.0"}', "convert it to OpenAPI 3"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "no JSON"),
        (b"a: &a [*a]", "no YAML"),
        (b"!!python/object/apply:os.getcwd []", "no YAML"),
    ],
)
def test_what_is_no_document_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        parse(data)


def test_a_document_that_unfolds_without_end_is_refused_soon() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    begun = time.process_time()

    with pytest.raises(InvalidInput):
        parse("\n".join(lines).encode())

    assert time.process_time() - begun < 4


def test_yaml_reads_as_json_would() -> None:
    root = parse(b"openapi: 3.1.0\ninfo: {version: 2026-01-02}\npaths: {/a: {get: {responses: {200: {}}}}}").root

    assert root["info"] == {"version": "2026-01-02"}
    assert root["paths"]["/a"]["get"]["responses"] == {"200": {}}


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        ({"/a": {"get": {"parameters": [{"$ref": "file:///etc/passwd"}]}}}, "leads out of the document"),
        ({"/a": {"get": {"parameters": [{"$ref": "other.yaml#/x"}]}}}, "leads out of the document"),
        ({"/a": {"get": {"parameters": [{"$ref": "#/nowhere"}]}}}, "leads nowhere"),
        ({"/a": {"get": {"parameters": [{"$ref": "#/components/loop"}]}}}, "lead in a circle"),
        ({"/a?x=1": {"get": {}}}, "has a query"),
        ({"/a/../b": {"get": {}}}, "a segment of dots"),
        ({"/a/%2e%2E/b": {"get": {}}}, "a segment of dots"),
        ({"http://evil.example/": {"get": {}}}, "has a query, a fragment"),
        ({"/a\r\nX: y": {"get": {}}}, "has a query"),
        ({"/a": {"get": {"parameters": [{"name": "x", "in": "path", "style": "form"}]}, "parameters": 3}}, ""),
        ({"/{x}": {"get": {"parameters": [{"name": "x", "in": "path", "style": "form"}]}}}, "has the style 'form'"),
        ({"/a": {"get": {"responses": {"200": 3}}}}, "no object where OpenAPI wants one"),
        ({"/a": {"post": {"requestBody": {"content": {"bad": {}}}}}}, "no media type"),
    ],
)
def test_operations_that_cannot_be_tools_are_left_out(paths: dict[str, Any], why: str) -> None:
    made = book(paths, {"loop": {"$ref": "#/components/loop"}})

    assert len(made.items) == (0 if why else 1)
    assert why in "".join(made.problems)


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


def test_arguments_get_names_that_models_can_use() -> None:
    parameters = [
        {"name": "id", "in": "query"},
        {"name": "id", "in": "header"},
        {"name": "filter[a]", "in": "query"},
        {"name": "body", "in": "query"},
        {"name": "Authorization", "in": "header"},
        {"name": "Host", "in": "header"},
        {"name": "X-Forwarded-For", "in": "header"},
        {"name": "a b", "in": "header"},
    ]
    body: dict[str, Any] = {"content": {"application/json": {}}}

    schema = tool(book(operation(parameters=parameters, requestBody=body)))["inputSchema"]

    assert list(schema["properties"]) == ["id", "id_header", "filter_a", "body_query", "body"]


def test_tools_get_names_of_their_own() -> None:
    paths = {
        "/pets/{id}": {"get": {}},
        "/a": {"get": {"operationId": "a/b c"}, "put": {"operationId": "a/b/c"}, "post": {"operationId": "x" * 90}},
    }

    made = book(paths, operations=[{"name": "a_b_c", "path": "/z"}])

    assert [item.name for item in made.items] == ["get_pets_id", "a_b_c_2", "x" * 64, "a_b_c_3", "a_b_c"]


def test_servers_of_single_operations_are_told_together() -> None:
    files = [{"url": "https://files.example/v1"}]
    document = Document(
        {
            "openapi": "3.1.0",
            "servers": [{"url": "https://api.example/v2"}],
            "paths": {
                "/a": {"get": {"servers": files}, "post": {"servers": files}},
                "/b": {"get": {"servers": [{"url": "https://API.example/v2"}]}},
            },
        }
    )
    settings = RestUpstream(name="api", endpoints=("https://api.example",), document="x.json")

    path, servers = build(settings, document).problems
    assert path == "upstream 'api': the document's servers have the path '/v2', the endpoints have '/'"
    assert servers.startswith("upstream 'api': 2 operations have servers of their own ('files.example'), and go to ")


def test_json_is_asked_for_before_everything_else() -> None:
    contents = {"text/csv": {}, "application/json": {"schema": {"type": "object"}}, "application/yaml": {}}

    both = book(operation(responses={"200": {"content": contents}})).operations["do"]
    csv = book(operation(responses={"200": {"content": {"text/csv": {}}}})).operations["do"]

    assert both.accept == "application/json, text/csv;q=0.5, application/yaml;q=0.5, */*;q=0.1"
    assert csv.accept == "text/csv;q=0.5, */*;q=0.1"
    assert both.output_schema and not csv.output_schema


def test_only_so_many_tools_are_made() -> None:
    made = book({f"/a{n}": {"get": {}} for n in range(5)}, max_tools=2)

    assert len(made.items) == 2
    assert made.problems == ("upstream 'api': 3 operations more than max_tools = 2 are left out; include fewer",)


@pytest.mark.parametrize(
    ("include", "exclude", "is_in"),
    [
        (["*"], [], True),
        (["list*"], [], True),
        (["LISTPETS"], [], True),
        (["pets"], [], False),
        (["tag:pets"], ["method:get"], False),
        (["path:/v?/*"], [], False),
        (["path:/v1/*"], ["path:*/admin/*"], True),
        (["id:x", "method:get"], [], True),
    ],
)
def test_patterns_select(include: list[str], exclude: list[str], is_in: bool) -> None:
    assert selected(include, exclude, "listPets", ["pets"], "/v1/pets", "get") is is_in


def test_all_schemes_of_a_combination_are_needed() -> None:
    schemes = {
        "key": {"type": "apiKey", "in": "query", "name": "k"},
        "app": {"type": "apiKey", "in": "header", "name": "X-App"},
        "oauth": {"type": "oauth2"},
    }
    paths = {
        "/a": {"get": {"operationId": "both", "security": [{"oauth": []}, {"key": [], "app": []}]}},
        "/b": {"get": {"operationId": "optional", "security": [{}]}},
    }

    made = book(paths, {"securitySchemes": schemes}, credentials={"key": "env:K", "app": "env:A", "oauth": "env:O"})

    assert made.operations["both"].credentials == ("app", "key")
    assert made.operations["optional"].credentials == ()
    assert "no scheme 'oauth' of type apiKey or http" in made.problems[0]


def test_forms_are_written_as_their_encoding_says() -> None:
    form = Body(
        "body", "form", "application/x-www-form-urlencoded", encodings={"ids": Encoding("pipeDelimited", False)}
    )

    made, _ = written(form, {"a": "x&y=z", "ids": [1, 2], "deep": {"b": [{"c": True}]}, "list": ["p", "q"]})

    assert made == b"a=x%26y%3Dz&ids=1%7C2&deep[b][0][c]=true&list=p&list=q"


async def test_files_are_parts_whose_names_cannot_leave_their_header() -> None:
    body = Body("body", "multipart", "multipart/form-data", binary=frozenset({"file"}))

    writer, media = written(body, {"file": "AAEC", "note": "x\r\n--y", "meta": {"a": 1}})

    assert not isinstance(writer, bytes)
    parts = [(part.headers["Content-Disposition"], part.headers["Content-Type"]) for part, _, _ in writer]
    assert media.startswith("multipart/form-data; boundary=")
    assert parts == [
        ('form-data; name="file"; filename="file"', "application/octet-stream"),
        ('form-data; name="note"', "text/plain; charset=utf-8"),
        ('form-data; name="meta"', "application/json"),
    ]
    for bad in ({'a"\r\nX: y': "1"}, {"file": "no base64!"}):
        with pytest.raises(Refused):
            written(body, bad)


def test_what_breaks_an_exact_promise_is_an_error_and_a_loose_one_promises_little() -> None:
    schema = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
    answers = {"200": {"content": {"application/json": {"schema": schema}}}}
    answer = Answer(200, {"content-type": "application/json"}, b'{"id":null,"more":1}')

    exact = book(operation(responses=answers), output_schemas="exact").operations["do"]
    loose = book(operation(responses=answers)).operations["do"]
    none = book(operation(responses=answers), output_schemas="none").operations["do"]

    assert b'"isError":true' in bytes(succeeded(exact, answer).result or b"")
    assert b'"isError"' not in bytes(succeeded(loose, answer).result or b"")
    assert mismatch(loose.output_schema, {}) == "" and none.output_schema == b""


def test_json_parameters_are_sent_as_json() -> None:
    parameters = [{"name": "q", "in": "query", "content": {"application/json": {"schema": {"type": "object"}}}}]

    made = prepare(book(operation(parameters=parameters)).operations["do"], {"q": {"a": [1]}})

    assert made.query == [("q", "%7B%22a%22%3A%5B1%5D%7D")]


@pytest.mark.parametrize(
    "expression",
    [
        *("a[?", "$[", "to_string(@)", "$..a..b", "$[?match(@.a, '(a+)+')]"),
        *("|".join(["[@,@]"] * 40), "|".join(["[@,@][]"] * 20), "$" + "[*,*]" * 9),
    ],
)
def test_expressions_that_could_cost_too_much_are_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be read|could make|are allowed"):
        Shaper(expression)


@pytest.mark.parametrize("expression", ["join('', @) | join('', [@, @, @])", "[].[@,@][].[@,@][].[@,@][]", "[][].x"])
def test_expressions_that_cost_too_much_end_soon(expression: str) -> None:
    begun = time.process_time()

    with pytest.raises(ShapeFailed):
        Shaper(expression)(["x" * 10] * 400_000)

    assert time.process_time() - begun < 4


def test_expressions_shape_values() -> None:
    value = {"items": [{"id": 1, "tags": ["a"]}, {"id": 2, "tags": []}], "next": "c"}

    assert Shaper("items[].{id: id, first: tags[0]}")(value) == [{"id": 1, "first": "a"}, {"id": 2, "first": None}]
    assert Shaper("$.items[?@.id > 1].id")(value) == [2]
    with pytest.raises(ShapeFailed):
        Shaper("length(items[0].id)")(value)
