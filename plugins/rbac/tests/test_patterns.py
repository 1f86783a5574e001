"""Patterns and permissions: what they match, cover and have in common."""

from __future__ import annotations

import re

from hypothesis import given, strategies as st

from toolway.hookspecs.permissions import Permission
from toolway_rbac.patterns import Patterns, covers, matches, overlap
from toolway_rbac.permits import Permits, is_within, permits

small_patterns = st.text("ab*", max_size=5)
small_names = st.text("ab", max_size=5)
actions = st.sampled_from(("tools:call", "servers:read", "servers:write"))
permissions = st.one_of(
    st.just("admin:*"),
    st.builds(
        "{}:{}".format,
        st.sampled_from(("tools:call", "servers:read", "servers:*")),
        small_patterns.filter(bool),
    ),
)


@given(st.lists(small_patterns, max_size=4), small_names)
def test_patterns_match_what_each_of_them_matches(patterns: list[str], name: str) -> None:
    assert Patterns(patterns).match(name) == any(matches(each, name) for each in patterns)


@given(small_patterns, small_names)
def test_a_pattern_matches_as_the_shell_has_it(pattern: str, name: str) -> None:
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))

    assert matches(pattern, name) == (re.fullmatch(expression, name) is not None)


@given(small_patterns, small_patterns, small_names)
def test_what_is_covered_is_matched(wide: str, narrow: str, name: str) -> None:
    if covers(wide, narrow) and matches(narrow, name):
        assert matches(wide, name)


@given(small_patterns, small_patterns, small_names)
def test_patterns_that_match_one_name_overlap(one: str, other: str, name: str) -> None:
    assert overlap(one, other) == overlap(other, one)
    if matches(one, name) and matches(other, name):
        assert overlap(one, other)


@given(small_patterns, small_names)
def test_a_name_overlaps_only_with_what_matches_it(pattern: str, name: str) -> None:
    assert overlap(pattern, name) == matches(pattern, name)


@given(permissions, permissions, actions, small_names)
def test_a_permission_within_another_permits_no_more(narrow: str, wide: str, action: str, name: str) -> None:
    inner, outer = Permission.parse(narrow), Permission.parse(wide)

    if is_within(inner, outer) and permits(inner, action, name):
        assert permits(outer, action, name)
        assert Permits([outer]).permit(action, name)


@given(permissions, permissions, actions, small_names)
def test_permissions_that_permit_one_thing_touch(one: str, other: str, action: str, name: str) -> None:
    first, second = Permission.parse(one), Permission.parse(other)

    assert Permits([first]).permit(action, name) == permits(first, action, name)
    if permits(first, action, name) and permits(second, action, name):
        assert Permits([first]).touches(second)
