"""What is answered with a copy, for how long and to whom."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from cached import LEGACY, Answering, cache, call, read, result, view
from msgspec import Raw

from toolway.hookspecs.routing import Call, ClientProfile, Eras, Reply, RpcFault
from toolway.plugin import UpstreamTimeout, UpstreamUnauthorized
from toolway_cache.cache import Cache
from toolway_testing.clock import MovedClock

WRITES: dict[str, Any] = {}
URI: dict[str, Any] = {"method": "resources/read", "name": "up/file:///a"}


async def numbers(kept: Cache, upstream: Answering, *calls: Call) -> list[int]:
    """Which of the upstream's answers each call got, one after the other."""
    return [read(await kept(each, upstream))["number"] for each in calls]


async def test_a_tool_that_only_reads_is_called_once_while_its_answer_is_fresh() -> None:
    clock, upstream = MovedClock(), Answering()
    kept = cache(clock=clock)

    assert await numbers(kept, upstream, call(), call(), call(arguments={"x": 1})) == [1, 1, 2]
    clock.time += 10.1
    assert await numbers(kept, upstream, call()) == [3]


@pytest.mark.parametrize("hints", [WRITES, {"annotations": {"readOnlyHint": False}}, {"annotations": None}])
async def test_a_tool_that_may_write_is_always_called_and_drops_what_is_kept(hints: dict[str, Any]) -> None:
    upstream = Answering()
    kept = cache()
    write = call("up/change", raw=hints)

    assert await numbers(kept, upstream, call(), write, write, call(), call()) == [1, 2, 3, 4, 4]


async def test_rules_say_which_tools_only_read_how_long_and_for_whom() -> None:
    clock, upstream = MovedClock(), Answering()
    rules = [
        {"items": ["up/plain_*"], "read_only": True, "ttl": 100, "share": True},
        {"items": ["up/clock"], "ttl": 0},
    ]
    kept = cache(clock=clock, rules=rules)
    bob, alice = call("up/plain_a", "user:bob", raw=WRITES), call("up/plain_a", raw=WRITES)

    assert await numbers(kept, upstream, bob, alice) == [1, 1]
    clock.time += 99
    assert await numbers(kept, upstream, alice, call("up/clock"), call("up/clock")) == [1, 2, 3]


OTHERS: dict[str, dict[str, Any]] = {
    "principal": {"who": "user:bob"},
    "credential": {"credential": "other"},
    "scopes": {"scopes": frozenset({"admin"})},
    "server": {"server": "other"},
    "version": {"client": LEGACY},
    "capabilities": {"client": ClientProfile("2026-07-28", {"sampling": {}})},
    "meta": {"meta": {"tenant": Raw(b'"x"')}},
    "outgoing meta": {"outgoing_meta": {"tenant": Raw(b'"x"')}},
    "outgoing headers": {"outgoing_headers": {"X-Tenant": "x"}},
}
SAME: dict[str, dict[str, Any]] = {
    "progress": {"meta": {"progressToken": Raw(b"1")}},
    "tracing": {"outgoing_headers": {"traceparent": "00"}, "meta": {"traceparent": Raw(b'"00"')}},
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


NOT_KEPT: dict[str, dict[str, Any]] = {
    "state": {"params": {"requestState": Raw(b'"s"')}},
    "answers": {"params": {"inputResponses": Raw(b"{}")}},
    "single use": {"single_use": True},
}


@pytest.mark.parametrize("facts", NOT_KEPT.values(), ids=NOT_KEPT)
async def test_repetitions_with_answers_and_single_use_credentials_always_go_on(facts: dict[str, Any]) -> None:
    assert await numbers(cache(), Answering(), call(**facts), call(**facts)) == [1, 2]


async def test_questions_are_not_kept_nor_what_a_person_answered() -> None:
    kept, upstream = cache(), Answering()

    async def asks(one: Call) -> Reply:
        one.is_asked = upstream.calls > 2
        return Reply(Raw(b'{"resultType":"input_required"}'), kind="complete" if one.is_asked else "input_required")

    upstream.instead = asks
    for _ in range(4):
        await kept(call(), upstream)

    assert (upstream.calls, len(kept.kept.entries)) == (4, 0)


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


@pytest.mark.parametrize("refusal", [UpstreamUnauthorized("401"), RpcFault(-32042, "URL")])
async def test_what_is_about_the_caller_is_never_kept(refusal: Any) -> None:
    kept, upstream = cache(), Answering()

    async def refuses(one: Call) -> Reply:
        if isinstance(refusal, Exception):
            raise refusal
        return Reply(fault=refusal)

    upstream.instead = refuses
    for _ in range(2):
        with suppress(UpstreamUnauthorized):
            await kept(call(), upstream)

    assert (upstream.calls, len(kept.kept.entries)) == (2, 0)


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


async def test_a_tool_that_is_declared_anew_is_asked_anew() -> None:
    upstream, kept = Answering(), cache()
    changed = {"annotations": {"readOnlyHint": True}, "description": "other"}

    assert await numbers(kept, upstream, call(), call(raw=changed), call(raw=changed)) == [1, 2, 2]


async def test_memory_is_bounded_and_what_was_used_longest_ago_goes_first() -> None:
    upstream = Answering()
    upstream.result = {"text": "x" * 100_000}
    kept = cache(memory=1024 * 1024)
    calls = [call(arguments={"n": number}) for number in range(9)]
    await numbers(kept, upstream, *calls)

    assert await numbers(kept, upstream, calls[0], call(arguments={"n": 99}), call(arguments={"n": 98})) == [1, 10, 11]
    assert await numbers(kept, upstream, calls[0], calls[1]) == [1, 12]
    assert kept.kept.entries.bytes <= 1024 * 1024
    upstream.result = {"text": "x" * 1_100_000}
    assert await numbers(kept, upstream, call("up/long"), call("up/long")) == [13, 14]


async def test_lifetimes_differ_so_that_not_all_end_together() -> None:
    kept, upstream = cache(jitter=0.1), Answering()
    for number in range(50):
        await kept(call(arguments={"n": number}), upstream)

    ends = [entry.fresh_until - entry.stored_at for entry in kept.kept.entries]
    assert 9 <= min(ends) < max(ends) <= 10 and len(set(ends)) > 40
