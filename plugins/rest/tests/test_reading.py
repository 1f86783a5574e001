"""Documents are read within bounds, and what cannot become a tool is left out with a reason."""

from __future__ import annotations

import time
from typing import Any

import pytest
from books import book, operation, tool

from toolway.plugin import InvalidInput
from toolway_rest.builder import build
from toolway_rest.document import Document, parse
from toolway_rest.reading import server_urls
from toolway_rest.selection import selected
from toolway_rest.settings import RestUpstream


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
        ({"http://evil.example/": {"get": {}}}, "has a query, a backslash"),
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


def test_a_header_that_only_the_gateway_sets_cannot_be_needed() -> None:
    def needing(name: str) -> dict[str, Any]:
        return operation(parameters=[{"name": name, "in": "header", "required": True}])

    assert "needs the header 'Content-Length'" in book(needing("Content-Length")).problems[0]
    for name in ("Content-Range", "Tenant", "Hostname"):  # the last two begin as headers of the gateway do
        assert tool(book(needing(name)))["inputSchema"]["required"] == [name]
    assert tool(book(needing("Accept")))["inputSchema"]["properties"] == {}


def test_servers_have_the_defaults_of_their_variables() -> None:
    servers = [{"url": "https://{region}.example/{version}", "variables": {"version": {"default": "v2"}, "region": {}}}]

    assert server_urls(servers) == ["https://{region}.example/v2"]


def test_what_the_api_calls_itself_is_no_tool() -> None:
    paths = operation(
        callbacks={"done": {"{$request.body#/url}": {"post": {"operationId": "called"}}}},
        responses={"200": {"links": {"next": {"operationId": "other"}}}},
        deprecated=True,
        parameters=[{"name": "old", "in": "query", "deprecated": True}],
    )

    made = book({**paths, "x-webhooks": {"new": {"post": {}}}})

    assert [item.name for item in made.items] == ["do"]
    assert tool(made)["description"].startswith("Deprecated.")
    assert tool(made)["inputSchema"]["properties"]["old"]["deprecated"] is True


def test_what_comes_after_a_hash_tells_operations_apart() -> None:
    made = book({"/#Action=Run": {"post": {"operationId": "run"}}, "/#Action=Stop": {"post": {}}})

    assert [item.name for item in made.items] == ["run", "post__Action_Stop"]
    assert {each.template for each in made.operations.values()} == {("/",)}
