"""For how long a copy is the answer, what comes after that, and what of failures is kept."""

from __future__ import annotations

from typing import Any

import pytest
from cached import Answering, cache, call, numbers, read, result, view

from toolway.hookspecs.routing import Call, Eras, Reply, RpcFault
from toolway.plugin import UpstreamTimeout
from toolway_testing.clock import MovedClock

URI: dict[str, Any] = {"method": "resources/read", "name": "up/file:///a"}


async def test_a_resource_is_as_fresh_and_as_public_as_its_upstream_says() -> None:
    clock, upstream = MovedClock(), Answering()
    kept = cache(clock=clock, stale=0)
    upstream.result = {"ttlMs": 5000, "cacheScope": "public"}

    assert await numbers(kept, upstream, call(**URI), call(who="user:bob", **URI)) == [1, 1]
    clock.time += 2
    later = read(await kept(call(**URI), upstream))
    assert later == {"number": 1, "ttlMs": 3000, "cacheScope": "public"}
    clock.time += 3.1
    upstream.result = {"ttlMs": 5000, "cacheScope": "private"}
    assert await numbers(kept, upstream, call(**URI), call(who="user:bob", **URI), call(**URI)) == [2, 3, 2]
    upstream.result = {"ttlMs": 0, "cacheScope": "public"}
    clock.time += 5.1
    assert await numbers(kept, upstream, call(**URI), call(**URI)) == [4, 5]


async def test_what_the_gateway_adds_for_a_legacy_upstream_is_not_taken_for_its_word() -> None:
    upstream = Answering()
    upstream.result = {"ttlMs": 0, "cacheScope": "public"}
    kept = cache(view(eras=Eras(legacy="2025-11-25")))

    assert await numbers(kept, upstream, call(**URI), call(**URI), call(who="user:bob", **URI)) == [1, 1, 2]


async def test_an_old_answer_is_better_than_a_failure_and_then_the_upstream_is_left_alone() -> None:
    clock, upstream = MovedClock(), Answering()
    kept = cache(clock=clock)
    await kept(call(), upstream)
    clock.time += 11

    async def fails(one: Call) -> Reply:
        raise UpstreamTimeout("too late")

    upstream.instead = fails
    assert await numbers(kept, upstream, call(), call()) == [1, 1]
    assert upstream.calls == 2
    clock.time += 31
    for _ in range(2):
        with pytest.raises(UpstreamTimeout, match="too late"):
            await kept(call(), upstream)
    assert upstream.calls == 3
    clock.time += 1
    upstream.instead = None
    assert await numbers(kept, upstream, call()) == [4]


async def test_faults_and_errors_of_tools_are_kept_for_a_second() -> None:
    clock, upstream = MovedClock(), Answering()
    kept = cache(clock=clock)
    replies = iter([Reply(fault=RpcFault(-32602, "no")), result({"isError": True}), result({"number": 3})])

    async def fails(one: Call) -> Reply:
        return next(replies)

    upstream.instead = fails
    reply = Reply()
    for expected in (1, 1, 2, 2, 3, 3):
        reply = await kept(call(), upstream)
        assert upstream.calls == expected
        clock.time += 0.6
    assert read(reply) == {"number": 3}


async def test_lifetimes_differ_so_that_not_all_end_together() -> None:
    kept, upstream = cache(jitter=0.1), Answering()
    for number in range(50):
        await kept(call(arguments={"n": number}), upstream)

    ends = [entry.fresh_until - entry.stored_at for entry in kept.kept.entries]
    assert 9 <= min(ends) < max(ends) <= 10 and len(set(ends)) > 40
