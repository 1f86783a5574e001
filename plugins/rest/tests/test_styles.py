"""Values in all styles of OpenAPI, and what may not leave its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from yarl import URL

from toolway_rest.builder import build
from toolway_rest.document import Document
from toolway_rest.operations import Operation
from toolway_rest.requests import BadArgument, Prepared, prepare
from toolway_rest.settings import RestUpstream
from toolway_rest.styles import Refused, header_value, path_value, query_pairs

NAUGHTY = json.loads((Path(__file__).parent / "parts/naughty.json").read_text())
COLOURS: list[Any] = ["blue", ["blue", "black", "brown"], {"R": 100, "G": 200, "B": 150}]
"""The values of the table of styles (OpenAPI 3.1, section 4.8.12.4)."""


@pytest.mark.parametrize(
    ("style", "explode", "written"),
    [
        ("simple", False, ["blue", "blue,black,brown", "R,100,G,200,B,150"]),
        ("simple", True, ["blue", "blue,black,brown", "R=100,G=200,B=150"]),
        ("label", False, [".blue", ".blue,black,brown", ".R,100,G,200,B,150"]),
        ("label", True, [".blue", ".blue.black.brown", ".R=100.G=200.B=150"]),
        ("matrix", False, [";color=blue", ";color=blue,black,brown", ";color=R,100,G,200,B,150"]),
        ("matrix", True, [";color=blue", ";color=blue;color=black;color=brown", ";R=100;G=200;B=150"]),
    ],
)
def test_a_path_has_the_styles_of_openapi(style: str, explode: bool, written: list[str]) -> None:
    assert [path_value(each, "color", style, explode=explode) for each in COLOURS] == written


@pytest.mark.parametrize(
    ("style", "explode", "written"),
    [
        ("form", False, ["color=blue", "color=blue,black,brown", "color=R,100,G,200,B,150"]),
        ("form", True, ["color=blue", "color=blue&color=black&color=brown", "R=100&G=200&B=150"]),
        ("spaceDelimited", False, ["color=blue", "color=blue%20black%20brown", "color=R%20100%20G%20200%20B%20150"]),
        ("pipeDelimited", False, ["color=blue", "color=blue%7Cblack%7Cbrown", "color=R%7C100%7CG%7C200%7CB%7C150"]),
        (
            "deepObject",
            True,
            ["color=blue", "color[0]=blue&color[1]=black&color[2]=brown", "color[R]=100&color[G]=200&color[B]=150"],
        ),
    ],
)
def test_a_query_has_the_styles_of_openapi(style: str, explode: bool, written: list[str]) -> None:
    pairs = [query_pairs(each, "color", style, explode=explode) for each in COLOURS]

    assert ["&".join(f"{name}={value}" for name, value in each) for each in pairs] == written


def test_headers_have_the_style_of_openapi() -> None:
    assert [header_value(each, explode=False) for each in COLOURS] == ["blue", "blue,black,brown", "R,100,G,200,B,150"]
    assert header_value(COLOURS[2], explode=True) == "R=100,G=200,B=150"


def test_reserved_characters_stay_where_the_document_allows_them() -> None:
    assert query_pairs("a/b?c&d=e#f", "q", "form", explode=True, reserved=True) == [("q", "a/b?c%26d%3De%23f")]


@pytest.mark.parametrize(
    "value",
    [
        *(
            "..",
            ".",
            "../admin",
            "a/b",
            "a\\b",
            "%2e%2e",
            "%2E%2E%2Fadmin",
            "a%2fb",
            "a%252fb",
            "%25252e%25252e",
            "..;x",
        ),
        *("a\r\nX: y", "a%0d%0aX: y", "a\x00", "", "\ud800", "//evil.example", "https://evil.example/", "a/../b"),
        *([[]], ["..", ".."], [""], {}, "%" + "25" * 20 + "2f"),
    ],
)
def test_what_could_change_the_path_is_refused(value: Any) -> None:
    with pytest.raises(Refused):
        path_value(value, "id", "simple", explode=False)


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\x00", "ü", " a", "a ", "a\x7f", "\ud800"])
def test_what_could_end_a_header_is_refused(value: str) -> None:
    with pytest.raises(Refused):
        header_value(value, explode=False)


def operation() -> Operation:
    """One with a parameter in each place."""
    places = ("query", "header", "cookie")
    parameters = [{"name": "id", "in": "path"}, *({"name": f"x-{place}", "in": place} for place in places)]
    root = {"openapi": "3.1.0", "paths": {"/a/{id}/b": {"get": {"operationId": "get", "parameters": parameters}}}}
    settings = RestUpstream(name="api", endpoints=("https://api.example/v1?key=1",), document="x.json")
    return build(settings, Document(root)).operations["get"]


GET = operation()
BASE = URL("https://api.example/v1?key=1")


def held(value: Any) -> Prepared | None:
    """The request with a value in every place, where its shape is as it must be; None when the value is refused."""
    try:
        prepared = prepare(GET, {"id": value, "x-query": value, "x-cookie": value})
    except BadArgument:
        return None
    url = prepared.url(BASE)
    assert (url.scheme, url.host, url.port, url.user) == ("https", "api.example", 443, None)
    assert url.raw_path.split("/")[:3] == ["", "v1", "a"] and url.raw_path.split("/")[4:] == ["b"]
    assert str(url).isascii() and str(url).startswith("https://api.example/v1/a/") and "#" not in str(url)
    names = [pair.partition("=")[0] for pair in url.raw_query_string.split("&")]
    assert names in (["key", "x-query"], ["key"]) or isinstance(value, dict | list)
    assert url.query["key"] == "1" and names.count("key") == 1
    ((name, cookie),) = prepared.cookies
    assert name == "x-cookie" and not set(cookie) & set('\r\n;, "\\')
    return prepared


@pytest.mark.parametrize("value", NAUGHTY, ids=lambda value: ascii(value)[:30])
def test_naughty_strings_stay_where_they_belong(value: str) -> None:
    prepared = held(value)

    assert prepared is None or prepared.url(BASE).parts[3] == value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(json_values)
def test_no_value_leaves_its_place(value: Any) -> None:
    held(value)


@pytest.mark.parametrize(
    ("path", "a", "b"),
    [
        ("/%2e{a}{b}", ";", "x"),
        ("/%2e{a}{b}", ";x", "y"),
        ("/x/{a}{b}", "%2", "e%2e"),
        ("/x/{a}{b}", "%2", "Fadmin"),
        ("/x/{a}{b}", "%252", "fadmin"),
    ],
)
def test_arguments_together_make_no_other_path(path: str, a: str, b: str) -> None:
    parameters = [{"name": "a", "in": "path"}, {"name": "b", "in": "path"}]
    paths = {path: {"get": {"operationId": "get", "parameters": parameters}}}
    settings = RestUpstream(name="api", endpoints=("https://api.example",), document="x.json")
    get = build(settings, Document({"openapi": "3.1.0", "paths": paths})).operations["get"]

    with pytest.raises(BadArgument, match="another path together"):
        prepare(get, {"a": a, "b": b})


@given(st.text())
def test_no_text_ends_a_header(value: str) -> None:
    try:
        headers = prepare(GET, {"id": "1", "x-header": value}).headers
    except BadArgument:
        return
    assert headers == {"accept": "application/json, */*;q=0.1", "x-header": value}
    assert not set(value) & {"\r", "\n", "\0"}
