"""Refuses calls by priority while the gateway has too much to do. Lists, administration and health are no calls."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

from toolway.hookspecs.routing import Call
from toolway.plugin import Clock, Overloaded, beside
from toolway_rate_limit.overload import TICK_SECONDS, Overload
from toolway_rate_limit.selection import selects_any
from toolway_rate_limit.settings import SheddingSettings

log = logging.getLogger(__name__)

Priority = Literal["first", "normal", "last"]
BEGIN: dict[Priority, float] = {"first": 0.0, "normal": 1 / 3, "last": 2 / 3}
"""The level from which some of them are refused; all, or nearly all, from a third more."""
SHARES: dict[Priority, float] = {"first": 1.0, "normal": 0.95, "last": 0.95}
EARLY = 0.8
"""Of the calls in flight that are too many: from there on the first ones are refused."""
MOST_HELD, MOST = 256, 1000
"""Refusals that are held back at once, and with those that are done all together, if that is more: they are calls in
flight for the gateway, which bounds those. Who is refused at once and comes back at once leaves time for nothing else.
"""
HOLDS = (0.5, 1.5)
"""How long one refusal is held back, in terms of the setting."""
WAIT_SECONDS, MORE_SECONDS = 1.0, 4.0
"""To be told to refused clients: from one second to five, the more the worse it is."""


class Shedder:
    """Counts calls in flight and what was refused, which `told` hears of; `run` watches the event loop."""

    name = "rate-limit-shedding"

    def __init__(self, settings: SheddingSettings, clock: Clock) -> None:
        self.overload = Overload(settings.lag, 1.0 if settings.last else BEGIN["last"])
        self.in_flight = 0
        self.shed: dict[Priority, int] = {"first": 0, "normal": 0, "last": 0}
        self.told: Callable[[Priority], None] = lambda priority: None
        self._least, self._most = settings.least, settings.in_flight
        self._early = settings.in_flight * EARLY
        self._is_first, self._is_last = selects_any(settings.first), selects_any(settings.last)
        self._debts: dict[Priority, float] = {"first": 0.0, "normal": 0.0, "last": 0.0}
        self._clock = clock
        self._hold, self._held = settings.hold, 0
        self._most_held = max(MOST_HELD, MOST - settings.in_flight)
        self._before = 0
        self._is_shedding = False

    def enter(self, call: Call) -> Overloaded | None:
        """Count a call that may go on, or say why not."""
        if (self.overload.level or self.in_flight >= self._early) and (refusal := self._considered(call)):
            return refusal
        self.in_flight += 1
        return None

    async def hold(self) -> None:
        """Wait before a refusal is told. Who comes back at once otherwise keeps the gateway busy with refusals.

        Not all for as long: those who were refused together would come back together, again and again.
        """
        if self._held < self._most_held:
            self._held += 1
            try:
                await asyncio.sleep(self._hold * random.uniform(*HOLDS))
            finally:
                self._held -= 1

    def leave(self) -> None:
        """A call that was counted is over."""
        self.in_flight -= 1

    def priority(self, call: Call) -> Priority:
        """When it has to give way; what is named as last is last, whatever else it is."""
        if self._is_last(call):
            return "last"
        return "first" if self._is_first(call) else "normal"

    def share(self, priority: Priority) -> float:
        """Which part of these calls is refused now."""
        return min(SHARES[priority], max(0.0, 3 * (self.overload.level - BEGIN[priority])))

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`."""
        async with beside(self.name, self._watch()):
            yield

    def look(self, lag: float) -> None:
        """Take the delay of the event loop into account; tell that calls are refused for it, and when that is over."""
        self.overload.observe(lag, self._clock.monotonic())
        total, is_overloaded = sum(self.shed.values()), self.overload.level > 0
        if is_overloaded and total > self._before and not self._is_shedding:
            self._is_shedding = True
            log.info("load is shed: the event loop is late by %.0f ms (p99)", self.overload.p99() * 1000)
        elif not is_overloaded:
            if self._is_shedding:
                log.info("no more load is shed; %d calls were refused", total - self._before)
            self._is_shedding, self._before = False, total

    def _considered(self, call: Call) -> Overloaded | None:
        """The refusal of a call that is among those that give way: evenly spread, never several more than their share.

        While few calls are in flight, to do one costs hardly more than to refuse it, and refusing nearly all of them
        would leave clients that come back at once with nothing.
        """
        priority = self.priority(call)
        most = {"first": self._early, "normal": self._most, "last": float("inf")}[priority]
        debt = self._debts[priority] + self.share(priority)
        self._debts[priority] = debt - 1 if debt >= 1 else debt
        is_spared = priority != "first" and self.in_flight < self._least
        if (debt >= 1 and not is_spared) or self.in_flight >= most:
            self.shed[priority] += 1
            self.told(priority)
            wait = random.uniform(WAIT_SECONDS, WAIT_SECONDS + MORE_SECONDS * self.overload.level)
            return Overloaded("the gateway has too much to do; try again later", retry_after=round(wait, 3))
        return None

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(TICK_SECONDS)
            self.look(max(0.0, loop.time() - before - TICK_SECONDS))
