"""Ids of requests."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given, strategies as st

from toolway_json_logging.ids import Uuids, is_fine

UUIDS = Uuids()


@given(st.floats(0, 2**37))
def test_a_made_id_is_a_uuid_of_version_7_that_begins_with_the_time(now: float) -> None:
    made = uuid.UUID(text := UUIDS.new(now))

    assert str(made) == text
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == int(now * 1_000)


def test_made_ids_differ_and_sort_by_time() -> None:
    made = [UUIDS.new(number / 1_000) for number in range(1_000)]

    assert made == sorted(made)
    assert len({UUIDS.new(0) for _ in range(1_000)}) == 1_000


@given(st.binary(max_size=200))
def test_only_short_tokens_are_fine(given_id: bytes) -> None:
    expected = re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", given_id) is not None and len(given_id) <= 128

    assert is_fine(given_id) == expected


@pytest.mark.parametrize("bad", [b"", b"a" * 129, b"a b", b"a\r\nx: y", b"a\n", b'"a"', b"\xff", b"a,b", b"a\0"])
def test_what_could_be_something_else_is_not_taken(bad: bytes) -> None:
    assert not is_fine(bad)
