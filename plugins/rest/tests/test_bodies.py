"""Bodies, answers and parameters are written and read as the document says."""

from __future__ import annotations

import pytest
from books import book, operation, tool

from toolway_rest.answers import Answer, succeeded
from toolway_rest.bodies import written
from toolway_rest.fitting import mismatch
from toolway_rest.operations import Body, Encoding
from toolway_rest.requests import prepare
from toolway_rest.styles import Refused


def test_json_is_asked_for_before_everything_else() -> None:
    contents = {"text/csv": {}, "application/json": {"schema": {"type": "object"}}, "application/yaml": {}}

    both = book(operation(responses={"200": {"content": contents}})).operations["do"]
    csv = book(operation(responses={"200": {"content": {"text/csv": {}}}})).operations["do"]

    assert both.accept == "application/json, text/csv;q=0.5, application/yaml;q=0.5, */*;q=0.1"
    assert csv.accept == "text/csv;q=0.5, */*;q=0.1"
    assert both.output_schema and not csv.output_schema


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


async def test_arrays_are_parts_of_one_name_each() -> None:
    body = Body(
        "body", "multipart", "multipart/form-data", encodings={"json": Encoding(content_type="application/json")}
    )

    writer, _ = written(body, {"tags": ["a", "b"], "json": ["a", "b"]})

    assert not isinstance(writer, bytes)
    names = [part.headers["Content-Disposition"] for part, _, _ in writer]
    assert names == ['form-data; name="tags"', 'form-data; name="tags"', 'form-data; name="json"']


def test_what_is_no_json_is_asked_for_as_text() -> None:
    content = {"application/xml": {"schema": {"type": "object", "properties": {"a": {}}}}}

    entry = tool(book(operation(requestBody={"content": content})))

    assert entry["inputSchema"]["properties"]["body"] == {
        "type": "string",
        "description": "Text of the type application/xml.",
    }


def test_members_of_a_query_that_no_style_has_words_for_are_json() -> None:
    parameters = [{"name": "filters", "in": "query", "schema": {"type": "array", "items": {"type": "object"}}}]

    made = prepare(book(operation(parameters=parameters)).operations["do"], {"filters": [{"a": 1}]})

    assert made.query == [("filters", "%7B%22a%22%3A1%7D")]
