"""To whom a copy is shown: whoever would have got the same answer."""

from __future__ import annotations

from typing import Any

import pytest
from cached import LEGACY, Answering, cache, call, numbers, view
from msgspec import Raw

from toolway.hookspecs.routing import ClientProfile, Eras

OTHERS: dict[str, dict[str, Any]] = {
    "principal": {"who": "user:bob"},
    "credential": {"credential": "other"},
    "scopes": {"scopes": frozenset({"admin"})},
    "server": {"server": "other"},
    "version": {"client": LEGACY},
    "capabilities": {"client": ClientProfile("2026-07-28", {"sampling": {}})},
    "a member twice": {"params": {"arguments": Raw(b'{"x":1,"x":1}')}},
    "meta": {"meta": {"tenant": Raw(b'"x"')}},
    "outgoing meta": {"outgoing_meta": {"tenant": Raw(b'"x"')}},
    "outgoing headers": {"outgoing_headers": {"X-Tenant": "x"}},
}
SAME: dict[str, dict[str, Any]] = {
    "progress": {"meta": {"progressToken": Raw(b"1")}},
    "tracing": {"outgoing_headers": {"traceparent": "00"}, "meta": {"traceparent": Raw(b'"00"')}},
    "spaces": {"params": {"arguments": Raw(b" { } ")}},
    "info": {"client": ClientProfile("2026-07-28", info={"name": "other"})},
}


@pytest.mark.parametrize("facts", OTHERS.values(), ids=OTHERS)
async def test_what_could_make_a_difference_gets_an_answer_of_its_own(facts: dict[str, Any]) -> None:
    assert await numbers(cache(), Answering(), call(), call(**facts), call()) == [1, 2, 1]


@pytest.mark.parametrize("facts", SAME.values(), ids=SAME)
async def test_what_makes_no_difference_does_not(facts: dict[str, Any]) -> None:
    assert await numbers(cache(), Answering(), call(), call(**facts)) == [1, 1]


async def test_sessions_of_legacy_upstreams_have_answers_of_their_own_unless_they_share() -> None:
    eras = Eras(legacy="2025-11-25")
    apart, together = view("apart", eras=eras), view("together", eras=eras, sharing="principal")
    kept, upstream = cache(apart, together), Answering()

    assert await numbers(kept, upstream, *(call("apart/look", session=each) for each in "aba")) == [1, 2, 1]
    assert await numbers(kept, upstream, *(call("together/look", session=each) for each in "ab")) == [3, 3]
