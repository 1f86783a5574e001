"""Old copies are the answer at once while one call renews each, as whoever found it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from cached import Answering, cache, call, numbers, read, view
from msgspec import Raw

from toolway.hookspecs.routing import Call, ClientProfile, Eras, Reply
from toolway.plugin import UpstreamTimeout
from toolway_cache.cache import Cache
from toolway_testing.clock import MovedClock
from toolway_testing.polling import eventually

URI: dict[str, Any] = {"method": "resources/read", "name": "up/file:///a b?c={d}"}


async def grown_old(kept: Cache, upstream: Answering, clock: MovedClock, *calls: Call) -> None:
    """Copies of these are there, and old."""
    for each in calls:
        await kept(each, upstream)
    clock.time += 61


async def test_everybody_who_finds_an_old_copy_gets_it_at_once_and_one_call_renews_it() -> None:
    clock, upstream = MovedClock(), Answering()
    kept = cache(clock=clock, upstream=upstream, stale=90)
    await grown_old(kept, upstream, clock, call())
    upstream.go = asyncio.Event()

    answers = await asyncio.gather(*(kept(call(meta={"progressToken": Raw(b"1")}), upstream) for _ in range(500)))

    assert {read(each)["number"] for each in answers} == {1}
    await eventually(lambda: upstream.calls == 2)
    upstream.go.set()
    await eventually(lambda: are_new(kept, clock))
    assert await numbers(kept, upstream, call()) == [2] and upstream.calls == 2
    (count,) = kept.kept.counts.counts.values()
    assert count.outcomes == {"hit": 1, "stale": 500, "joined": 0, "miss": 1, "refresh": 1}


def are_new(kept: Cache, clock: MovedClock) -> bool:
    return all(each.stored_at == clock.monotonic() for each in kept.kept.entries)


async def test_a_copy_is_renewed_as_the_one_who_found_it_and_what_is_for_all_as_nobodys_client() -> None:
    clock, upstream, asked = MovedClock(), Answering(), list[tuple[str, object, str]]()

    async def notes(one: Call) -> Reply:
        asked.append((one.principal.id, one.client.capabilities, one.principal.credential))
        return Reply(
            Raw(b'{"ttlMs":60000,"cacheScope":"%b"}' % (b"public" if one.method != "tools/call" else b"private"))
        )

    upstream.instead = notes
    kept = cache(clock=clock, upstream=upstream, stale=90)
    client = ClientProfile("2026-07-28", {"experimental": {}})
    mine, of_bob = call(client=client, credential="a"), call(who="user:bob", client=client, credential="b")
    await grown_old(kept, upstream, clock, mine, of_bob, call(**URI))
    asked.clear()

    for each in (of_bob, mine, call(who="user:bob", client=client, **URI), call(client=client, **URI)):
        await kept(each, upstream)

    await eventually(lambda: len(asked) == 3)
    assert asked == [
        ("user:bob", {"experimental": {}}, "b"),
        ("user:alice", {"experimental": {}}, "a"),
        ("user:bob", {}, ""),
    ]
    await eventually(lambda: len(kept.kept.entries) == 3 and are_new(kept, clock))


async def test_a_renewal_that_fails_leaves_the_old_copy_and_the_upstream_alone_for_a_while() -> None:
    clock, upstream = MovedClock(), Answering()
    kept = cache(clock=clock, upstream=upstream, stale=90, failures=1)
    await grown_old(kept, upstream, clock, call())

    async def fails(one: Call) -> Reply:
        raise UpstreamTimeout("too late")

    upstream.instead = fails
    assert await numbers(kept, upstream, call()) == [1]
    await eventually(lambda: upstream.calls == 2)
    await asyncio.sleep(0)
    assert await numbers(kept, upstream, call(), call()) == [1, 1] and upstream.calls == 2
    clock.time += 1.1
    assert await numbers(kept, upstream, call()) == [1]
    await eventually(lambda: upstream.calls == 3)
    clock.time += 90
    with pytest.raises(UpstreamTimeout):
        await kept(call(), upstream)


async def test_so_many_are_renewed_at_once_and_none_after_the_end() -> None:
    clock, upstream = MovedClock(), Answering()
    kept = cache(clock=clock, upstream=upstream, stale=90, refreshes=2)
    calls = [call(arguments={"n": number}) for number in range(5)]
    await grown_old(kept, upstream, clock, *calls)
    upstream.go = asyncio.Event()

    assert await numbers(kept, upstream, *calls) == [1, 2, 3, 4, 5]
    await eventually(lambda: upstream.calls == 7)
    await kept.refreshes.close()
    upstream.go = None
    assert await numbers(kept, upstream, calls[4]) == [5]
    await eventually(lambda: upstream.calls == 8)
    assert await numbers(kept, upstream, calls[4]) == [8]


async def test_a_renewal_whose_client_is_asked_is_given_up_and_a_session_is_never_asked_without_its_client() -> None:
    clock, upstream, ended = MovedClock(), Answering(), asyncio.Event()
    legacy = view("legacy", eras=Eras(legacy="2025-11-25"))
    kept = cache(view(), legacy, clock=clock, upstream=upstream, stale=90)
    asks, in_session = call(client=ClientProfile("2026-07-28", {"elicitation": {}})), call("legacy/look", session="s")
    await grown_old(kept, upstream, clock, asks, in_session)

    async def never(one: Call) -> Reply:
        one.is_asked = True
        try:
            return await asyncio.Future[Reply]()
        finally:
            ended.set()

    assert await numbers(kept, upstream, in_session) == [3]
    upstream.instead = never
    assert await numbers(kept, upstream, asks) == [1]
    await asyncio.wait_for(ended.wait(), 5)
    assert await numbers(kept, upstream, asks) == [1]
    await kept.refreshes.close()
