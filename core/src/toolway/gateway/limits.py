"""How much may happen at once: calls and streams per principal and node, calls per upstream with a short queue."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from toolway.errors import Overloaded
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.routing import Policy


class Slot:
    """A place that is held: given back once however often that is said, taken again without waiting."""

    __slots__ = ("_give", "_take", "held")

    def __init__(self, take: Callable[[], None], give: Callable[[], None]) -> None:
        self._take = take
        self._give = give
        self.held = True

    def leave(self) -> None:
        """Give it back."""
        if self.held:
            self.held = False
            self._give()

    def rejoin(self) -> None:
        """Take it again, even above the bound: what was begun goes on."""
        if not self.held:
            self.held = True
            self._take()


class Quota:
    """At most so many of something for one principal and on this node (reliability, default limits).

    Anonymous clients are many people under one name: for them only the bound of the node holds.
    """

    def __init__(self, what: str, per_principal: int, per_node: int) -> None:
        self._what = what
        self._per_principal = per_principal
        self._per_node = per_node
        self._held: Counter[str] = Counter()
        self.total = 0

    def take(self, principal: Principal) -> Slot:
        """A place; raises Overloaded."""
        if self.total >= self._per_node:
            raise Overloaded(f"the gateway has {self._per_node} {self._what}; try again later")
        if principal.kind != "anonymous" and self._held[principal.id] >= self._per_principal:
            raise Overloaded(f"you have {self._per_principal} {self._what}; end some or try again later")
        self._count(principal.id, 1)
        return Slot(partial(self._count, principal.id, 1), partial(self._count, principal.id, -1))

    def _count(self, key: str, by: int) -> None:
        self.total += by
        self._held[key] += by
        if not self._held[key]:
            del self._held[key]


class Slots:
    """The bound on calls in flight to one upstream, with a short queue."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self, policy: Policy, upstream: str) -> Slot:
        """Take a slot, waiting at most `queue_wait`; raises Overloaded."""
        if self.in_flight < policy.in_flight:
            self.in_flight += 1
        elif len(self._waiting) >= policy.queue:
            raise Overloaded(f"upstream {upstream!r} is busy: {policy.in_flight} calls in flight and the queue is full")
        else:
            await self._turn(policy.queue_wait, upstream)
        return Slot(self._take, self._give)

    async def _turn(self, seconds: float, upstream: str) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._give()  # it was granted while the caller gave up
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise Overloaded(f"upstream {upstream!r} is busy: no slot was free within {seconds:g} s") from None
            raise

    def _take(self) -> None:
        self.in_flight += 1

    def _give(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.in_flight -= 1


class OpenStreams:
    """Streams that stay open until one side ends them."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._open: dict[Slot, tuple[str, Callable[[], None]]] = {}

    @contextmanager
    def opened(self, principal: Principal, end: Callable[[], None]) -> Iterator[None]:
        """Count a stream that `end` ends properly; raises Overloaded."""
        slot = self._quota.take(principal)
        self._open[slot] = principal.id, end
        try:
            yield
        finally:
            del self._open[slot]
            slot.leave()

    def end(self, matches: Callable[[str], bool] = lambda principal: True) -> None:
        """End those of the principals that `matches` names: a revoked credential, or all when the gateway stops."""
        for principal, end in list(self._open.values()):
            if matches(principal):
                end()
