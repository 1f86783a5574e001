"""What is answered with a copy, and what never is."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from cached import Answering, cache, call, numbers
from msgspec import Raw

from toolway.hookspecs.routing import Call, Reply, RpcFault
from toolway.plugin import UpstreamUnauthorized
from toolway_testing.clock import MovedClock

WRITES: dict[str, Any] = {}


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
