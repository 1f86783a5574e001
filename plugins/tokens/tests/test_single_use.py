"""One-time tokens admit one call or one administrative request, on whichever node."""

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from token_node import MakeNode, Node

from toolway.hookspecs.auth import Principal
from toolway.hookspecs.routing import Call, ClientProfile, Reply
from toolway.plugin import Forbidden, Unauthenticated, UpstreamTimeout, UpstreamUnreachable
from toolway_testing.clock import MovedClock

DONE = Reply(Raw(b"{}"))
ASKS = Reply(Raw(b"{}"), kind="input_required")


def a_call(principal: Principal, **params: Any) -> Call:
    raw = {name: Raw(msgspec.json.encode(value)) for name, value in {"name": "a", **params}.items()}
    peer: Any = None
    return Call("tools/call", raw, {}, "s", principal, ClientProfile("2026-07-28"), peer, 0.0)


async def run(node: Node, principal: Principal, outcome: Reply | BaseException = DONE, **params: Any) -> Reply:
    """The middleware in front of an upstream with this outcome."""

    async def upstream(call: Call) -> Reply:
        await asyncio.sleep(0)
        if isinstance(outcome, Reply):
            return outcome
        raise outcome

    return await node.parts.single_use(a_call(principal, **params), upstream)


async def one_time(node: Node) -> tuple[str, Principal]:
    _, value = await node.make(subject="user:alice", single_use=True)
    return value, (await node.maker_with(value)).principal


async def test_of_fifty_calls_on_two_nodes_one_succeeds(node: Node, make_node: MakeNode) -> None:
    other = await make_node()
    _, principal = await one_time(node)

    calls = [run((node, other)[number % 2], principal) for number in range(50)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Reply"] + ["Unauthenticated"] * 49


async def test_of_calls_and_administrative_requests_one_succeeds(node: Node, make_node: MakeNode) -> None:
    other = await make_node()
    value, principal = await one_time(node)
    found = await other.ask(value, server=None)
    assert found is not None and found.claim is not None

    outcomes = await asyncio.gather(
        *(run(node, principal) for _ in range(5)), *(found.claim() for _ in range(5)), return_exceptions=True
    )

    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 1


async def test_looking_around_does_not_use_it_up_and_it_is_never_remembered(node: Node) -> None:
    value, principal = await one_time(node)
    for _ in range(3):
        found = await node.ask(value)
        assert found is not None and found.cache_until == 0.0

    assert await run(node, principal) is DONE


async def test_after_its_use_it_lets_nobody_in(node: Node) -> None:
    value, principal = await one_time(node)
    await run(node, principal)

    with pytest.raises(Unauthenticated, match="used up"):
        await node.ask(value)


async def test_it_is_given_back_when_nothing_was_sent(node: Node) -> None:
    _, principal = await one_time(node)
    with pytest.raises(UpstreamUnreachable):
        await run(node, principal, UpstreamUnreachable("no connection"))

    assert await run(node, principal) is DONE


@pytest.mark.parametrize(
    "failure",
    [UpstreamTimeout("no answer"), UpstreamUnreachable("?", sent=True), Forbidden("no"), asyncio.CancelledError()],
    ids=lambda failure: type(failure).__name__,
)
async def test_it_stays_used_when_something_may_have_been_sent(node: Node, failure: BaseException) -> None:
    value, principal = await one_time(node)
    with pytest.raises(type(failure)):
        await run(node, principal, failure)

    with pytest.raises(Unauthenticated):
        await run(node, principal)
    with pytest.raises(Unauthenticated):
        await node.ask(value)


async def test_a_call_that_asks_goes_on_with_the_answer_once_for_each_question(node: Node) -> None:
    value, principal = await one_time(node)
    assert await run(node, principal, ASKS) is ASKS
    assert await node.ask(value) is not None

    assert await run(node, principal, ASKS, requestState="x", inputResponses={"q": {}}) is ASKS
    both = [run(node, principal, requestState="y", inputResponses={"q": {}}) for _ in range(2)]
    outcomes = await asyncio.gather(*both, return_exceptions=True)

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Reply", "Unauthenticated"]


async def test_another_call_is_no_continuation(node: Node) -> None:
    _, principal = await one_time(node)
    await run(node, principal, ASKS)

    with pytest.raises(Unauthenticated):
        await run(node, principal, name="b")
    with pytest.raises(Unauthenticated):
        await run(node, principal, arguments={"x": 1}, requestState="x")


async def test_a_continuation_that_was_not_sent_may_be_tried_again(node: Node) -> None:
    _, principal = await one_time(node)
    await run(node, principal, ASKS)
    with pytest.raises(UpstreamUnreachable):
        await run(node, principal, UpstreamUnreachable("no connection"), requestState="x")

    assert await run(node, principal, requestState="x") is DONE


async def test_a_revoked_or_expired_one_admits_no_call(node: Node, clock: MovedClock) -> None:
    _, revoked = await one_time(node)
    await node.parts.catalog.revoke(revoked.credential.removeprefix("token:"), "admin")
    _, expired = await one_time(node)
    clock.time += 30 * 86400 + 60

    for principal in (revoked, expired):
        with pytest.raises(Unauthenticated):
            await run(node, principal)


async def test_a_one_time_token_makes_no_tokens(node: Node) -> None:
    _, principal = await one_time(node)

    with pytest.raises(Forbidden, match="a one-time token cannot make tokens"):
        await node.make(principal)


async def test_other_credentials_are_not_looked_at(node: Node) -> None:
    assert await run(node, Principal("x", credential="key:1", single_use=True)) is DONE
