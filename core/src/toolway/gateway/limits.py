"""How much may be held at once, by whom and for how long: calls, streams, and places in a short queue."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from time import monotonic

import msgspec

from toolway.errors import InvalidInput, Overloaded, StoreUnavailable, TooManyFailures, Unauthenticated
from toolway.gateway.access import Access
from toolway.hookspecs.attempts import Policy
from toolway.hookspecs.auth import Principal, Visit
from toolway.plugin.kernel import Clock

STANDING_SECONDS = 0.1


class Turn(msgspec.Struct, eq=False):
    """Somebody who waits for a place since then (monotonic seconds)."""

    granted: asyncio.Future[None]
    since: float


class Bound:
    """Counts what is held, by key and in all; `waiting` are those who want a place, one of `most`."""

    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        self.total = 0
        self.waiting: dict[str, deque[Turn]] = {}
        self.most: dict[str, int] = {}

    def leave(self, key: str) -> None:
        """Give a place back; it goes to whoever waits longest, or in an overload to the one that came last.

        Where all wait in line, all come too late once the line stands (Maurer, "Fail at Scale", adaptive LIFO).
        """
        if not (self.waiting and self._pass_on(key)):
            self.total -= 1
            left = self.held.pop(key) - 1
            if left:
                self.held[key] = left

    def rejoin(self, key: str) -> None:
        """Take a place again, even above the bound: what was begun goes on."""
        self.total += 1
        self.held[key] = self.held.get(key, 0) + 1

    def _pass_on(self, key: str) -> bool:
        waiting = self.waiting.get(key)
        while waiting and self.held[key] <= self.most[key]:
            turn = (waiting.pop() if _is_standing(waiting) else waiting.popleft()).granted
            if not turn.done():
                turn.set_result(None)
                return True
        return False


def _is_standing(waiting: deque[Turn]) -> bool:
    """Whether the line does not get shorter: the first one in it waits for long."""
    return bool(waiting) and monotonic() - waiting[0].since > STANDING_SECONDS


class Quota(Bound):
    """At most so many of something for one principal and on this node (reliability, default limits).

    Anonymous clients are many people under one name: for them only the bound of the node holds.
    """

    def __init__(self, what: str, per_principal: int, per_node: int) -> None:
        super().__init__()
        self._what, self._per_principal, self._per_node = what, per_principal, per_node

    def take(self, principal: Principal) -> None:
        """Take a place; raises Overloaded."""
        if self.total >= self._per_node:
            raise Overloaded(f"the gateway has {self._per_node} {self._what}; try again later")
        held = self.held.get(principal.id, 0)
        if held >= self._per_principal and principal.kind != "anonymous":
            raise Overloaded(f"you have {self._per_principal} {self._what}; end some or try again later")
        self.held[principal.id] = held + 1
        self.total += 1


class Queues(Bound):
    """The bound on calls in flight to each upstream, with a short queue."""

    @property
    def queued(self) -> int:
        """How many wait."""
        return sum(map(len, self.waiting.values()))

    def take(self, policy: Policy, upstream: str) -> bool:
        """Take a place, if one is free."""
        held, self.most[upstream] = self.held.get(upstream, 0), policy.in_flight
        if held >= policy.in_flight:
            return False
        self.held[upstream] = held + 1
        self.total += 1
        return True

    async def enter(self, policy: Policy, upstream: str) -> None:
        """Take a place, waiting at most `queue_wait`; raises Overloaded."""
        if self.take(policy, upstream):
            return
        waiting = self.waiting.setdefault(upstream, deque())
        if len(waiting) >= policy.queue:
            what = f"upstream {upstream!r} is busy: {policy.in_flight} calls in flight and the queue is full"
            if not _is_standing(waiting):
                raise Overloaded(what)
            if not (late := waiting.popleft().granted).done():  # its place is for who comes now
                late.set_exception(Overloaded(what))
        turn = Turn(asyncio.get_running_loop().create_future(), monotonic())
        waiting.append(turn)
        try:
            async with asyncio.timeout(policy.queue_wait):
                await turn.granted
        except BaseException as error:
            if turn in waiting:
                waiting.remove(turn)
            elif not turn.granted.cancelled() and turn.granted.exception() is None:
                self.leave(upstream)  # it was granted while the caller gave up
            if isinstance(error, TimeoutError):
                what = f"no slot was free within {policy.queue_wait:g} s"
                raise Overloaded(f"upstream {upstream!r} is busy: {what}") from None
            raise


class Stay(msgspec.Struct, eq=False):
    """Something that outlives its request: `end` ends it properly; times are monotonic seconds."""

    principal: Principal
    visit: Visit | None
    end: Callable[[], None]
    until: float
    ask_at: float = 0.0


class Stays(msgspec.Struct, eq=False):
    """Open streams, or parked calls: they end with their credential, at their time, or with the gateway.

    Nothing stays longer than `seconds`, more or less by a random part of them below `spread`.
    """

    quota: Quota
    access: Access
    clock: Clock
    seconds: float
    spread: float = 0.0
    open: set[Stay] = set()

    def begin(self, principal: Principal, visit: Visit | None, end: Callable[[], None]) -> Stay:
        """Count it from now on; raises Overloaded."""
        until = self.clock.monotonic() + self.seconds * random.uniform(1 - self.spread, 1 + self.spread)
        self.quota.take(principal)
        stay = Stay(principal, visit, end, until)
        self.open.add(stay)
        return stay

    def leave(self, stay: Stay) -> None:
        """It is over."""
        if stay in self.open:
            self.open.discard(stay)
            self.quota.leave(stay.principal.id)

    def end(self) -> None:
        """End all of them: the gateway stops."""
        for stay in list(self.open):
            stay.end()

    async def check(self, *, anew: bool = False) -> None:
        """End what stayed long enough, and what came with a credential that is not accepted any more.

        That is asked when it may not be remembered any longer, or `anew`.
        """
        for stay in list(self.open):
            now = self.clock.monotonic()
            is_over = stay.until <= now or ((anew or stay.ask_at <= now) and not await self._may_stay(stay))
            if is_over and stay in self.open:  # it may have been left meanwhile
                stay.end()

    async def _may_stay(self, stay: Stay) -> bool:
        if stay.visit is None:
            return True
        try:
            verified = await self.access.authenticate(stay.visit)
        except (Unauthenticated, InvalidInput, TooManyFailures):
            return False
        except StoreUnavailable:
            return True  # it was good when it was last looked at
        stay.ask_at = verified.cache_until
        return _bare(verified.principal) == _bare(stay.principal)


def _bare(principal: Principal) -> Principal:
    """Who somebody is and in which teams, whatever the credential."""
    return msgspec.structs.replace(principal, credential="", limits=None, single_use=False)
