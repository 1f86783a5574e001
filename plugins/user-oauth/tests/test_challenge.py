"""Challenges of upstreams are read whatever they are; what is taken out of them are scopes and nothing else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from toolway_user_oauth.challenge import MAX_LENGTH, missing_scopes, parameters, scopes_in


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Bearer realm="a, b", scope="x y"', {"realm": "a, b", "scope": "x y"}),
        ("Bearer", {}),
        ('Basic realm="x", Bearer error=invalid_token', {"error": "invalid_token"}),
        ('bearer ERROR = "insufficient_scope"', {"error": "insufficient_scope"}),
        (r'Bearer realm="a\"b", x=y', {"realm": 'a"b', "x": "y"}),
        ('Bearer scope="a", scope="b"', {"scope": "a"}),
        ("Negotiate abc", {}),
        ('Bearer scope="unfinished', {}),
    ],
)
def test_parameters_are_found(header: str, expected: dict[str, str]) -> None:
    assert parameters(header) == expected


@given(st.text(max_size=300))
def test_no_header_is_a_surprise(text: str) -> None:
    parameters(text)
    parameters(f"Bearer {text}")
    for scope in missing_scopes(f'Bearer error="insufficient_scope", scope="{text}"') or ():
        assert re.fullmatch(r"[!#-\[\]-~]+", scope)


@given(st.lists(st.text(max_size=20)))
def test_scopes_are_few_short_and_each_once(scopes: list[str]) -> None:
    found = scopes_in(" ".join(scopes))
    assert len(found) == len(set(found)) <= 50
    assert len(" ".join(found)) <= MAX_LENGTH


def test_other_refusals_are_not_about_scopes() -> None:
    assert missing_scopes('Bearer error="invalid_token", scope="x"') is None
    assert missing_scopes("") is None
    assert missing_scopes("Bearer error=insufficient_scope") == ()
