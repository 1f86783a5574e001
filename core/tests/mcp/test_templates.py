"""URI templates (RFC 6570): what matches, compared with the reference SDK's expansion, and how long it takes."""

from __future__ import annotations

import time

import pytest
from hypothesis import assume, given, strategies as st
from mcp.shared.uri_template import UriTemplate

from toolway.mcp import templates

EXPRESSIONS = ["{a}", "{+a}", "{#a}", "{/a}", "{/a*}", "{?a,b}", "{&a}", "{.a}", "{;a}", "{a,b}"]


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("test://template/{id}/data", "test://template/1/data"),
        ("test://template/{id}/data", "test://template/a%20b/data"),
        ("file:///{+path}", "file:///a/b/c.txt"),
        ("file:///{path*}", "file:///a,b"),
        ("x://h{/seg*}", "x://h/a/b/c"),
        ("x://h{/seg*}", "x://h"),
        ("x://h/s{?q,limit}", "x://h/s?q=1&limit=2"),
        ("x://h/s{?q,limit}", "x://h/s"),
        ("x://h/s?fixed=1{&q}", "x://h/s?fixed=1&q=2"),
        ("x://h/doc{#part}", "x://h/doc#a/b?c"),
        ("x://h/file{.ext}", "x://h/file.tar.gz"),
        ("x://h/{a}-{b}/{a}", "x://h/1-2-3/1"),
        ("x://{a}{b}", "x://ab"),
        ("x://no/variables", "x://no/variables"),
        ("x://h/{broken", "x://h/{broken"),
    ],
)
def test_a_uri_that_the_template_can_give_matches(template: str, uri: str) -> None:
    assert templates.compile(template).match(uri) is True


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("test://template/{id}/data", "test://template/1/2/data"),
        ("test://template/{id}/data", "test://template/1/data/more"),
        ("test://template/{id}/data", "test://template/1"),
        ("test://template/{id}", "other://template/1"),
        ("x://h/{id}", "x://h/1?q=2"),
        ("x://h/s{?q}", "x://h/s/t"),
        ("x://h/s{?q}", "x://h/s?q=1#f"),
        ("x://h/s?fixed=1{&q}", "x://h/s?fixed=12"),
        ("x://h{/seg}", "x://hello"),
        ("x://h/doc{#part}", "x://h/docpart"),
        ("x://h/file{.ext}", "x://h/filetar"),
        ("x://no/variables", "x://no/variables/"),
    ],
)
def test_a_uri_that_the_template_cannot_give_does_not_match(template: str, uri: str) -> None:
    assert templates.compile(template).match(uri) is False


@given(
    st.lists(st.sampled_from(EXPRESSIONS) | st.sampled_from(["/", "-", "x"]), max_size=5),
    st.dictionaries(st.sampled_from("ab"), st.text(max_size=8) | st.lists(st.text(max_size=3), max_size=3)),
)
def test_every_expansion_of_a_template_matches_it(parts: list[str], variables: dict[str, str | list[str]]) -> None:
    template = "t://h/" + "".join(parts)
    try:
        expanded = UriTemplate.parse(template).expand(variables)
    except ValueError:
        assume(False)
    assert templates.compile(template).match(expanded)


@given(st.lists(st.sampled_from([*EXPRESSIONS, "/", "-"]), max_size=4), st.text("ab/-.;=?&", max_size=12))
def test_whatever_the_reference_matches_matches_here(parts: list[str], rest: str) -> None:
    template = "t://h/" + "".join(parts)
    try:
        parsed = UriTemplate.parse(template)
    except ValueError:
        assume(False)
    if parsed.match(f"t://h/{rest}") is not None:
        assert templates.compile(template).match(f"t://h/{rest}")


@pytest.mark.parametrize("template", ["{a}" * 32, "{+a}a" * 32, "{/a}" * 32, "{a}-" * 32 + "a", "{.a}" * 31 + "{+a}"])
@pytest.mark.parametrize("unit", ["a", "a/", "/a", ".", "a-"])
def test_hostile_templates_and_uris_take_no_time(template: str, unit: str) -> None:
    matcher = templates.compile("x://" + template)
    uri = "x://" + unit * ((templates.MAX_URI - 5) // len(unit)) + "a"
    started = time.perf_counter()
    matcher.match(uri)
    assert time.perf_counter() - started < 2.0


def test_what_is_beyond_the_bounds_does_not_match() -> None:
    assert not templates.compile("x://{+a}").match("x://" + "a" * templates.MAX_URI)
    assert not templates.compile("x://" + "{a}" * (templates.MAX_EXPRESSIONS + 1)).match("x://a")
