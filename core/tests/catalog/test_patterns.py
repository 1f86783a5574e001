"""Selection patterns."""

import pytest
from hypothesis import given, strategies as st

from toolway.catalog.patterns import Selection
from toolway.plugin import globs


@pytest.mark.parametrize(
    ("pattern", "canonical", "is_match"),
    [
        ("*/*", "a/x", True),
        ("a/*", "a/test://x/y", True),
        ("a/get_*_time", "a/get_current_time", True),
        ("a/x", "a/xy", False),
        ("a/x", "A/x", False),
        ("a/[x]", "a/x", False),
        ("a/[x]", "a/[x]", True),
        ("a/?", "a/x", False),
        ("*", "a/x\ny", True),
    ],
)
def test_only_stars_are_special_and_they_match_anything(pattern: str, canonical: str, is_match: bool) -> None:
    assert Selection([pattern]).selects(canonical) is is_match


def test_exclusion_wins() -> None:
    selection = Selection(["a/*"], ["a/print*"])
    assert selection.selects("a/read")
    assert not selection.selects("a/print_env")


@pytest.mark.parametrize(
    ("include", "is_selected"),
    [
        (["*/*"], False),
        (["a*/*"], False),
        (["*"], False),
        (["*a/x"], False),
        (["aa/*"], False),
        (["a/*"], True),
        (["a/x"], True),
        (["*/*", "a/x"], True),
    ],
)
def test_what_joins_by_name_only_is_selected_by_patterns_that_begin_with_it(
    include: list[str], is_selected: bool
) -> None:
    selection = Selection(include, by_name={"a"})
    assert (selection.selects("a/x"), selection.reaches("a", by_name=True)) == (is_selected, is_selected)


def test_a_pattern_that_names_one_item_takes_no_other_of_what_joins_by_name() -> None:
    selection = Selection(["*/*", "a/x"], by_name={"a"})
    assert [selection.selects(name) for name in ("a/x", "a/y", "b/y")] == [True, False, True]


def test_no_include_pattern_selects_nothing() -> None:
    assert not Selection([]).selects("a/x")


@pytest.mark.parametrize(
    ("include", "exclude", "is_reached"),
    [
        (["a/x"], [], True),
        (["ab/x"], [], False),
        (["*b*"], [], True),
        (["a*z"], [], True),
        (["*/x"], ["a/*"], False),
        (["*/x"], ["a/y*"], True),
        (["a/"], [], True),
        (["*"], ["*"], False),
        (["*"], ["b*"], True),
        (["a"], [], False),
    ],
)
def test_an_upstream_is_reached_when_some_item_of_it_could_match(
    include: list[str], exclude: list[str], is_reached: bool
) -> None:
    assert Selection(include, exclude).reaches("a") is is_reached


@given(st.text("ab/*", max_size=6), st.text("ab/*", max_size=6), st.text("ab", min_size=1, max_size=4))
def test_whatever_is_selected_is_of_a_reached_upstream(include: str, exclude: str, item: str) -> None:
    selection = Selection([include], [exclude])
    assert not selection.selects(f"a/{item}") or selection.reaches("a")


def test_a_pattern_of_many_stars_is_matched_at_once() -> None:
    pattern, name = "*a" * 500 + "*b", "a" * 10_000

    assert globs([pattern]).fullmatch(name) is None
    assert globs([pattern]).fullmatch(name + "b") is not None
