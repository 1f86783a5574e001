"""How much may happen at once: slots of an upstream, quotas of principals, pauses of calls."""

from __future__ import annotations

import asyncio

import pytest

from toolway.errors import Overloaded
from toolway.gateway.exchange import Pausable
from toolway.gateway.limits import OpenStreams, Quota, Slots
from toolway.hookspecs.auth import ANONYMOUS, Principal
from toolway.hookspecs.routing import Policy
from toolway_testing.polling import eventually

ONE = Policy(in_flight=1, queue=1, queue_wait=5.0)
ALICE, BOB = Principal(id="alice"), Principal(id="bob")


async def test_a_waiting_call_gets_the_slot_that_is_given_back() -> None:
    slots = Slots()
    first = await slots.enter(ONE, "up")
    second = asyncio.create_task(slots.enter(ONE, "up"))
    await asyncio.sleep(0)

    first.leave()

    assert (await second).held
    assert slots.in_flight == 1


async def test_a_slot_granted_to_a_call_that_is_cancelled_at_that_moment_is_free_again() -> None:
    slots = Slots()
    first = await slots.enter(ONE, "up")
    second = asyncio.create_task(slots.enter(ONE, "up"))
    await asyncio.sleep(0)

    first.leave()
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second

    assert slots.in_flight == 0


async def test_a_full_queue_and_a_queue_that_does_not_move_refuse() -> None:
    slots = Slots()
    await slots.enter(ONE, "up")

    with pytest.raises(Overloaded, match="no slot was free"):
        await slots.enter(Policy(in_flight=1, queue=1, queue_wait=0.0), "up")
    with pytest.raises(Overloaded, match="the queue is full"):
        await slots.enter(Policy(in_flight=1, queue=0), "up")


async def test_a_slot_is_given_back_once_when_a_call_ends_while_it_still_asks() -> None:
    slots, clock = Slots(), Pausable()
    clock.hold(await slots.enter(ONE, "up"))

    clock.pause()
    assert slots.in_flight == 0
    clock.end()
    clock.resume()

    assert slots.in_flight == 0


async def test_the_deadline_of_a_call_stands_still_while_it_is_paused() -> None:
    slots, clock = Slots(), Pausable()
    clock.hold(await slots.enter(ONE, "up"))
    async with asyncio.timeout(0.05) as timer:
        clock.started(timer)
        clock.pause()
        clock.pause()
        await asyncio.sleep(0.1)
        clock.resume()
        assert timer.when() is None
        clock.resume()
        assert timer.when() is not None
    assert slots.in_flight == 1


def test_a_quota_bounds_each_principal_and_the_node() -> None:
    quota = Quota("calls in flight", per_principal=2, per_node=3)
    held = [quota.take(ALICE), quota.take(ALICE), quota.take(BOB)]

    with pytest.raises(Overloaded, match="the gateway has 3 calls"):
        quota.take(BOB)
    held[2].leave()
    held[2].leave()
    with pytest.raises(Overloaded, match="you have 2 calls"):
        quota.take(ALICE)
    held[0].leave()
    quota.take(ALICE)


def test_anonymous_clients_share_a_name_but_not_a_quota() -> None:
    quota = Quota("open streams", per_principal=1, per_node=3)

    assert [quota.take(ANONYMOUS).held for _ in range(3)] == [True] * 3


async def test_open_streams_of_a_revoked_principal_end() -> None:
    streams, ended = OpenStreams(Quota("open streams", 5, 5)), []
    with streams.opened(ALICE, lambda: ended.append("alice")), streams.opened(BOB, lambda: ended.append("bob")):
        streams.end("alice".__eq__)

        assert await eventually(lambda: ended) == ["alice"]
