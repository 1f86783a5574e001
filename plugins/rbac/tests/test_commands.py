"""What a command makes of what a person types."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from toolway.hookspecs.definitions import NAME
from toolway.plugin import InvalidInput
from toolway_rbac.commands import default_name, seconds, subject


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("alice", "user:alice"), ("service:ci", "service:ci"), ("team:a", "team:a"), ("*", "*"), ("anonymous",) * 2],
)
def test_a_bare_name_is_a_users(typed: str, meant: str) -> None:
    assert subject(typed) == meant


def test_a_binding_gets_a_name_that_says_what_it_is() -> None:
    assert default_name("user:alice", "developer", "allow") == "user-alice-developer"
    assert default_name("user:alice", "developer", "deny") == "deny-user-alice-developer"


@given(st.text(min_size=1), st.sampled_from(["developer", "tools:call:*", "tools:call:a"]), st.sampled_from(["allow"]))
def test_every_binding_gets_a_name_that_is_one(whom: str, given: str, effect: str) -> None:
    assert NAME.fullmatch(default_name(f"group:{whom}", given, effect))


def test_a_duration_is_a_number_and_a_unit() -> None:
    assert [seconds("30m"), seconds("8h"), seconds("7d")] == [1800, 28_800, 604_800]
    with pytest.raises(InvalidInput, match="write a number and a unit"):
        seconds("tomorrow")
