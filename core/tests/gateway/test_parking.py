"""Calls that wait for a modern client's input, and the sealed states that lead back to them."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from toolway.errors import Overloaded
from toolway.gateway.access import Access
from toolway.gateway.exchange import Exchange
from toolway.gateway.limits import Queues, Stays
from toolway.gateway.parked import PARK_SECONDS, PER_PRINCIPAL, Parking, quota
from toolway.gateway.streams import EventStream
from toolway.hookspecs.attempts import Policy
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.routing import ClientProfile, Reply
from toolway.keyring import KeyRing
from toolway.mcp.errors import RpcError
from toolway_testing.clock import MovedClock
from toolway_testing.polling import eventually

CLIENT = ClientProfile("2026-07-28", {"elicitation": {}})
ASKED = Raw(b'{"message":"?"}')
CLOCK = MovedClock()
RING = KeyRing([(os.urandom(6), os.urandom(32))])
ACCESS = Access([], [], CLOCK)


def new_parking() -> Parking:
    return Parking("one", RING, CLOCK, Stays(quota(), ACCESS, CLOCK, PARK_SECONDS))


PARKING = new_parking()


def exchange(parking: Parking = PARKING, principal: str = "alice", **params: Any) -> Exchange:
    """A `tools/call` that has just arrived."""
    made = Exchange(1, Principal(id=principal), CLIENT, {}, EventStream(), parking)
    raw = {key: Raw(msgspec.json.encode(value)) for key, value in {"name": "tool", **params}.items()}
    made.begin("tools/call", raw, {}, "all")
    return made


async def turn(stream: EventStream) -> dict[str, Any]:
    """The result that ends a turn."""
    await eventually(lambda: stream.closed)
    result: dict[str, Any] = msgspec.json.decode(stream.events[-1][1])["result"]
    return result


def parked_name(asked: Exchange, state: str) -> str:
    return PARKING.open(exchange(requestState=state), Raw(msgspec.json.encode(state))).parked


async def test_a_slot_is_given_back_once_when_a_call_ends_while_it_still_asks() -> None:
    slots, asked = Queues(), exchange()
    await slots.enter(Policy(), "up")
    asked.clock.slots.append((slots, "up"))

    asked.clock.pause()
    assert slots.total == 0
    asked.end()
    asked.clock.resume()

    assert slots.total == 0


async def test_two_equal_retries_of_a_parked_call_have_one_winner() -> None:
    asked = exchange()
    answer = asyncio.create_task(asked.ask("elicitation/create", ASKED))
    first = await turn(asked.stream)
    parked = parked_name(asked, first["requestState"])

    PARKING.resume(parked, dict.fromkeys(first["inputRequests"], Raw(b'{"action":"accept"}')), 2, EventStream())

    assert bytes(await answer) == b'{"action":"accept"}'
    with pytest.raises(RpcError, match="answered already"):
        PARKING.resume(parked, {}, 3, EventStream())


async def test_a_missing_answer_is_asked_again_and_an_unknown_one_ignored() -> None:
    asked = exchange()
    answer = asyncio.create_task(asked.ask("elicitation/create", ASKED))
    first, again = await turn(asked.stream), EventStream()

    PARKING.resume(parked_name(asked, first["requestState"]), {"other": Raw(b"{}")}, 2, again)

    second = await turn(again)
    assert second["inputRequests"] == first["inputRequests"]
    assert second["requestState"] != first["requestState"]
    answer.cancel()


async def test_what_ended_while_it_was_parked_is_told_when_the_client_comes_back() -> None:
    asked, again = exchange(), EventStream()
    answer = asyncio.create_task(asked.ask("elicitation/create", ASKED))
    first = await turn(asked.stream)
    answer.cancel()

    asked.finish(Reply(Raw(b'{"content":[]}')))
    PARKING.resume(parked_name(asked, first["requestState"]), {}, 2, again)

    assert await turn(again) == {"content": []}


@pytest.mark.parametrize(
    "other",
    [{"principal": "bob"}, {"name": "another"}, {"arguments": {"path": "/"}}],
    ids=["principal", "name", "arguments"],
)
async def test_a_state_is_bound_to_the_request_that_it_was_given_for(other: dict[str, Any]) -> None:
    state = Raw(msgspec.json.encode(PARKING.seal(exchange())))

    with pytest.raises(RpcError, match="requestState is not valid"):
        PARKING.open(exchange(**other), state)


async def test_a_state_says_nothing_about_how_the_gateway_renamed_the_tool() -> None:
    asked = exchange(name="up__tool")
    asked.call.params = {**asked.call.params, "name": Raw(b'"tool"')}

    state = PARKING.seal(asked, upstream="up", inner=b'"mine"')

    opened = PARKING.open(
        exchange(name="up__tool", inputResponses={}, requestState=state), Raw(msgspec.json.encode(state))
    )
    assert (opened.upstream, opened.inner) == ("up", b'"mine"')


async def test_a_state_is_over_after_ten_minutes() -> None:
    state = Raw(msgspec.json.encode(PARKING.seal(exchange())))

    CLOCK.time += PARK_SECONDS + 1

    with pytest.raises(RpcError):
        PARKING.open(exchange(), state)


async def test_a_principal_has_a_bounded_number_of_parked_calls_until_they_end() -> None:
    stays = Stays(quota(), ACCESS, CLOCK, PARK_SECONDS)
    parking = Parking("one", RING, CLOCK, stays)
    held = [exchange(parking) for _ in range(PER_PRINCIPAL)]
    for each in held:
        each.task = asyncio.create_task(_asked(each))
    await asyncio.gather(*(turn(each.stream) for each in held))

    with pytest.raises(Overloaded, match="calls that wait for input"):
        await exchange(parking).ask("elicitation/create", ASKED)
    tasks = [each.task for each in held]
    stays.end()

    assert await eventually(lambda: all(task is not None and task.cancelled() for task in tasks))


async def test_a_parked_call_is_given_up_after_ten_minutes() -> None:
    stays = Stays(quota(), ACCESS, CLOCK, PARK_SECONDS)
    asked = exchange(Parking("one", RING, CLOCK, stays))
    asked.task = task = asyncio.create_task(_asked(asked))
    await turn(asked.stream)

    CLOCK.time += PARK_SECONDS + 1
    await stays.check()

    assert await eventually(task.cancelled)


async def _asked(each: Exchange) -> None:
    await each.ask("elicitation/create", ASKED)
