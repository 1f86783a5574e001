"""How much may happen at once: slots of an upstream, quotas of principals, pauses of calls."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest
from msgspec.structs import replace

from toolway.catalog.parts import EVERY_KEY
from toolway.errors import Overloaded
from toolway.gateway.access import Access
from toolway.gateway.exchange import Pausable
from toolway.gateway.limits import Queues, Quota, Stay, Stays
from toolway.hookspecs.attempts import Policy
from toolway.hookspecs.auth import ANONYMOUS, AuthContext, Authenticated, Credentials, Principal, Visit
from toolway.hookspecs.permissions import Limits
from toolway_testing.clock import MovedClock

ONE = Policy(in_flight=1, queue=1, queue_wait=5.0)
ALICE, BOB = Principal(id="alice", teams=("ops",)), Principal(id="bob")


async def test_a_waiting_call_gets_the_slot_that_is_given_back() -> None:
    slots = Queues()
    await slots.enter(ONE, "up")
    second = asyncio.create_task(slots.enter(ONE, "up"))
    await asyncio.sleep(0)

    slots.leave("up")

    await second
    assert slots.total == 1


async def test_a_slot_granted_to_a_call_that_is_cancelled_at_that_moment_is_free_again() -> None:
    slots = Queues()
    await slots.enter(ONE, "up")
    second = asyncio.create_task(slots.enter(ONE, "up"))
    await asyncio.sleep(0)

    slots.leave("up")
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second

    assert slots.total == 0


async def test_a_full_queue_and_a_queue_that_does_not_move_refuse() -> None:
    slots = Queues()
    await slots.enter(ONE, "up")

    with pytest.raises(Overloaded, match="no slot was free"):
        await slots.enter(Policy(in_flight=1, queue=1, queue_wait=0.0), "up")
    with pytest.raises(Overloaded, match="the queue is full"):
        await slots.enter(Policy(in_flight=1, queue=0), "up")


async def test_the_deadline_of_a_call_stands_still_while_it_is_paused() -> None:
    clock, loop = Pausable(task=asyncio.current_task(), until=monotonic() + 0.05), asyncio.get_running_loop()
    clock.arm()
    clock.pause()
    clock.pause()
    await asyncio.sleep(0.1)
    clock.resume()
    await asyncio.sleep(0.1)
    clock.resume()
    resumed = loop.time()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(10)

    assert loop.time() - resumed < 5
    assert clock.stop()


async def test_a_call_that_is_cancelled_did_not_pass_its_deadline() -> None:
    task = asyncio.current_task()
    clock = Pausable(task=task, until=monotonic() + 10)
    clock.arm()
    assert task is not None
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(10)

    assert not clock.stop()
    task.uncancel()


def test_a_quota_bounds_each_principal_and_the_node() -> None:
    quota = Quota("calls in flight", per_principal=2, per_node=3)
    for principal in (ALICE, ALICE, BOB):
        quota.take(principal)

    with pytest.raises(Overloaded, match="the gateway has 3 calls"):
        quota.take(BOB)
    quota.leave(BOB.id)
    with pytest.raises(Overloaded, match="you have 2 calls"):
        quota.take(ALICE)
    quota.leave(ALICE.id)
    quota.take(ALICE)


def test_anonymous_clients_share_a_name_but_not_a_quota() -> None:
    quota = Quota("open streams", per_principal=1, per_node=3)

    for _ in range(3):
        quota.take(ANONYMOUS)

    assert quota.total == 3


class Door:
    """Trusts the credential that a test says is good, each time for ten seconds."""

    name = "door"

    def __init__(self, clock: MovedClock) -> None:
        self.good = "alice"
        self.teams: tuple[str, ...] = ("ops",)
        self._clock = clock

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Authenticated | None:
        if credentials.value != self.good:
            return None
        return Authenticated(Principal(id=credentials.value, teams=self.teams), self._clock.monotonic() + 10)


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def door(clock: MovedClock) -> Door:
    return Door(clock)


@pytest.fixture
def streams(clock: MovedClock, door: Door) -> Stays:
    """Open streams of at most a day."""
    return Stays(Quota("open streams", 5, 5), Access([door], [], clock), clock, 86_400.0, 0.1)


def opened(streams: Stays, principal: Principal, ended: list[str]) -> Stay:
    visit = Visit(f"Bearer {principal.id}".encode(), None, AuthContext("all", "127.0.0.1", "/mcp"))
    return streams.begin(principal, visit, lambda: ended.append(principal.id))


async def test_a_stream_whose_credential_is_not_accepted_any_more_ends(
    streams: Stays, door: Door, clock: MovedClock
) -> None:
    ended: list[str] = []
    stay = opened(streams, ALICE, ended)
    await streams.check()
    door.good = "nobody"
    await streams.check()
    assert not ended

    clock.time += 11
    await streams.check()

    assert ended == ["alice"]
    streams.leave(stay)
    assert not streams.open


def test_a_stream_that_is_over_gives_its_place_back_once(streams: Stays) -> None:
    first, _ = opened(streams, ALICE, []), opened(streams, ALICE, [])

    streams.leave(first)
    streams.leave(first)

    assert streams.quota.total == 1


async def test_a_stream_whose_credential_is_somebody_elses_now_ends(streams: Stays) -> None:
    ended: list[str] = []
    streams.begin(BOB, opened(streams, ALICE, []).visit, lambda: ended.append("bob"))

    await streams.check()

    assert ended == ["bob"]


async def test_a_stream_of_somebody_who_is_in_another_team_now_ends(streams: Stays, door: Door) -> None:
    ended: list[str] = []
    opened(streams, ALICE, ended)
    await streams.check()
    assert not ended

    door.teams = ()
    streams.access.revoke(frozenset({EVERY_KEY}))
    await streams.check(anew=True)

    assert ended == ["alice"]


async def test_a_stay_is_as_good_with_another_credential_of_the_same_principal(streams: Stays) -> None:
    ended: list[str] = []
    visit = opened(streams, ALICE, []).visit
    streams.begin(replace(ALICE, credential="token:1", limits=Limits(("admin:*",))), visit, lambda: ended.append("a"))

    await streams.check()

    assert not ended


async def test_a_stream_lives_a_day_more_or_less(streams: Stays, clock: MovedClock) -> None:
    ended: list[str] = []
    lives = {opened(streams, ALICE, ended).until - clock.time for _ in range(5)}
    assert len(lives) > 1 and all(0.9 * 86_400 <= life <= 1.1 * 86_400 for life in lives)

    clock.time += 0.9 * 86_400 - 1
    await streams.check()
    assert not ended
    clock.time += 0.2 * 86_400 + 2
    await streams.check()

    assert ended == ["alice"] * 5


async def test_once_the_line_stands_the_newest_is_served_and_the_oldest_gives_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queues, policy = Queues(), Policy(in_flight=1, queue=3, queue_wait=5.0)
    assert queues.take(policy, "up")
    waiting = [asyncio.create_task(queues.enter(policy, "up")) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await queues.enter(policy, "up")

    monkeypatch.setattr("toolway.gateway.limits.STANDING_SECONDS", -1.0)  # from now on they wait for too long
    late = asyncio.create_task(queues.enter(policy, "up"))
    with pytest.raises(Overloaded):
        await waiting[0]
    queues.leave("up")
    await late

    assert [task.done() for task in waiting] == [True, False, False]
    for task in (waiting[2], waiting[1]):
        queues.leave("up")
        await task
    queues.leave("up")
    assert (queues.total, queues.queued) == (0, 0)


async def test_however_often_a_call_asks_its_place_is_given_away_once_and_then_the_bound_holds() -> None:
    queues, policy = Queues(), Policy(in_flight=1, queue=9, queue_wait=5.0)
    await queues.enter(policy, "up")
    first = Pausable(slots=[(queues, "up")])
    waiting = [asyncio.create_task(queues.enter(policy, "up")) for _ in range(9)]
    await asyncio.sleep(0)
    for _ in range(3):
        first.pause()
        first.resume()
    assert queues.held["up"] == 2

    for _ in range(4):
        queues.leave("up")
        assert queues.held["up"] == 1

    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_who_comes_while_the_oldest_of_a_standing_line_leaves_waits_in_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queues = Queues()
    await queues.enter(ONE, "up")
    oldest = asyncio.create_task(queues.enter(ONE, "up"))
    await asyncio.sleep(0)
    monkeypatch.setattr("toolway.gateway.limits.STANDING_SECONDS", -1.0)

    oldest.cancel()
    with pytest.raises(Overloaded, match="no slot was free"):
        await queues.enter(replace(ONE, queue_wait=0.01), "up")
    queues.leave("up")

    assert (queues.total, queues.queued) == (0, 0)


async def test_what_is_left_while_its_credential_is_looked_at_is_not_ended(streams: Stays, door: Door) -> None:
    ended: list[str] = []
    stay = opened(streams, ALICE, ended)

    async def leave_meanwhile(credentials: Credentials, context: AuthContext) -> None:
        streams.leave(stay)

    door.authenticate = leave_meanwhile  # type: ignore[method-assign]
    await streams.check()

    assert not ended


async def test_a_bound_that_is_raised_holds_for_who_waits_already() -> None:
    queues, wider = Queues(), replace(ONE, in_flight=3)
    await queues.enter(ONE, "up")
    waiting = asyncio.create_task(queues.enter(ONE, "up"))
    await asyncio.sleep(0)
    assert queues.take(wider, "up") and queues.take(wider, "up")

    queues.leave("up")
    await waiting

    assert queues.held["up"] == 3
