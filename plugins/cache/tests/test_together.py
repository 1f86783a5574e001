"""Several calls for the same at the same time: one goes to the upstream."""

from __future__ import annotations

import asyncio
from typing import Any

from cached import Answering, cache, call, numbers, read, result

from toolway.hookspecs.routing import Call, ClientProfile, Reply
from toolway_testing.clock import MovedClock

URI: dict[str, Any] = {"method": "resources/read", "name": "up/file:///a"}


async def test_who_waits_for_what_was_for_all_does_not_get_what_is_for_one() -> None:
    upstream, kept = Answering(), cache()
    upstream.result = {"ttlMs": 5000, "cacheScope": "public"}
    await kept(call(**URI), upstream)
    kept.kept.drop("up")
    upstream.result, upstream.go = {"ttlMs": 5000, "cacheScope": "private"}, asyncio.Event()
    tasks = [asyncio.create_task(kept(call(who=who, **URI), upstream)) for who in ("user:alice", "user:bob")]
    await asyncio.sleep(0)

    upstream.go.set()

    assert [read(await each)["number"] for each in tasks] == [2, 3]


async def test_everybody_on_a_cold_key_gets_the_answer_of_one_call() -> None:
    upstream = Answering()
    upstream.go = asyncio.Event()
    kept = cache()
    tasks = [asyncio.create_task(kept(call(), upstream)) for _ in range(500)]
    await asyncio.sleep(0)

    upstream.go.set()

    assert {read(reply)["number"] for reply in await asyncio.gather(*tasks)} == {1}
    assert upstream.calls == 1


async def test_who_gives_up_takes_nobody_along() -> None:
    upstream = Answering()
    upstream.go = asyncio.Event()
    kept = cache()
    tasks = [asyncio.create_task(kept(call(), upstream)) for _ in range(10)]
    await asyncio.sleep(0)

    for given_up in (tasks[0], tasks[5]):
        given_up.cancel()
    await asyncio.sleep(0)
    upstream.go.set()
    replies = await asyncio.gather(*tasks, return_exceptions=True)

    assert [isinstance(each, asyncio.CancelledError) for each in replies] == [True, *[False] * 4, True, *[False] * 4]
    assert {read(each)["number"] for each in replies if isinstance(each, Reply)} == {2}


async def test_nobody_waits_for_a_person_whom_another_call_asks() -> None:
    upstream, kept = Answering(), cache()
    asked, answered = call(client=ClientProfile("2026-07-28", {"elicitation": {}})), asyncio.Event()

    async def asks(one: Call) -> Reply:
        if one is asked:
            one.is_asked = True
            await answered.wait()
        return result({"number": 7})

    upstream.instead = asks
    first = asyncio.create_task(kept(asked, upstream))
    await asyncio.sleep(0)

    assert read(await kept(call(client=asked.client), upstream)) == {"number": 7}
    answered.set()
    await first


async def test_while_one_gets_a_new_answer_the_others_get_the_old_one() -> None:
    clock, upstream = MovedClock(), Answering()
    kept = cache(clock=clock)
    await kept(call(), upstream)
    clock.time += 11
    upstream.go = asyncio.Event()
    first, old = asyncio.create_task(kept(call(), upstream)), call()
    await asyncio.sleep(0)

    assert (await numbers(kept, upstream, old), old.answered_by) == ([1], "cache")
    upstream.go.set()
    assert read(await first)["number"] == 2
    assert await numbers(kept, upstream, call()) == [2]


async def test_an_answer_that_was_asked_for_before_something_changed_is_not_kept() -> None:
    kept, upstream = cache(), Answering()
    upstream.go = asyncio.Event()
    first = asyncio.create_task(kept(call(), upstream))
    await asyncio.sleep(0)

    kept.kept.drop("up")
    second = asyncio.create_task(kept(call(), upstream))
    await asyncio.sleep(0)
    upstream.go.set()

    assert [read(await each)["number"] for each in (first, second)] == [1, 2]
    assert await numbers(kept, upstream, call()) == [2]
