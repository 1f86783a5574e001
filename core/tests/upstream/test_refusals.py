"""HTTP errors of upstreams: when they want to be asked again."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given, strategies as st

from toolway.bundled.upstreams.channel import refusal
from toolway.errors import UpstreamError


def wait(said: str) -> object:
    """What is understood of a `Retry-After`."""
    with pytest.raises(UpstreamError) as refused:
        refusal(503, b"", said)
    return refused.value.details.get("retry_after")


def test_a_number_of_seconds_and_a_date_say_when_to_come_back() -> None:
    assert wait("120") == 120
    assert wait(formatdate(time.time() + 30, usegmt=True)) in (29, 30, 31)
    assert wait("Sun, 06 Nov 1994 08:49:37 GMT") == 0


@pytest.mark.parametrize("said", ["", "soon", "-5", "1.5", "9" * 400, "Sun, 99 Nov 9999999 08:49:37 GMT", "0, 0 0 0"])
def test_anything_else_says_nothing(said: str) -> None:
    assert wait(said) is None


@given(said=st.text(max_size=200))
def test_no_header_does_harm(said: str) -> None:
    found = wait(said)
    assert found is None or (isinstance(found, int) and found >= 0)
