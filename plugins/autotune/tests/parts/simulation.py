"""An upstream in simulated time: so many callers, one call after the other, before one with so much capacity."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any, cast

from toolway.hookspecs.attempts import Attempt, Policy
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.definitions import UpstreamSettings
from toolway.hookspecs.routing import Call, ClientProfile, Endpoint, Item, Reply, Target, Upstream
from toolway.plugin import UpstreamTimeout
from toolway_autotune.choices import Choice
from toolway_autotune.plugin import AutotuneSettings
from toolway_autotune.tuner import Tuner
from toolway_testing.clock import MovedClock

SOMEBODY = Principal("user:alice", "user", "Alice")
CLIENT = ClientProfile("2026-07-28")
DECLARED = Policy()
UPSTREAM = Upstream("billing", "http", UpstreamSettings(name="billing", kind="http"), (Endpoint("http://a"),))


def call_of(tool: str = "echo") -> Call:
    target = Target("billing", tool, Item("billing", "tool", tool, b"{}"))
    return Call("tools/call", {}, {}, "open", SOMEBODY, CLIENT, cast(Any, None), 0.0, target=target)


class Simulation:
    """Calls take `seconds`, longer when more of them run than `capacity`; each round of tuning is `interval` later."""

    def __init__(self, **settings: Any) -> None:
        self.clock = MovedClock()
        self.choices: dict[str, Choice] = {}
        self.settings = AutotuneSettings(**{"mode": "apply", **settings})
        self.tuner = Tuner(self.clock, self.settings, lambda: self.choices)
        self.seconds, self.capacity = 0.1, 1000
        self.policy = DECLARED
        self.timed_out = 0
        self._ends: list[tuple[float, int, Attempt]] = []
        self._numbers = count()
        self._round_at = self.clock.time + self.settings.interval

    @property
    def values(self) -> Policy:
        """The policy that a call would get now."""
        return self.tuner.adjust(DECLARED, UPSTREAM, call_of())

    def run(self, seconds: float, callers: int, each: Callable[[], None] = lambda: None) -> None:
        """Let time pass; `each` is called after every round."""
        end = self.clock.time + seconds
        while self.clock.time < end:
            while len(self._ends) < callers and self._start():
                pass
            at = self._ends[0][0] if self._ends else end
            if self._round_at <= at:
                self.clock.time = self._round_at
                self._round_at += self.settings.interval
                self.tuner.decide()
                each()
            else:
                self.clock.time = at
                self._finish(heapq.heappop(self._ends)[2])

    def _start(self) -> bool:
        call = call_of()
        policy = self.tuner.adjust(DECLARED, UPSTREAM, call)
        if len(self._ends) >= policy.in_flight:
            return False
        now = self.clock.time
        call.deadline = now + policy.total
        attempt = Attempt(call, UPSTREAM, UPSTREAM.endpoints[0])
        self.tuner.begin(attempt)
        takes = self.seconds * max(1.0, (len(self._ends) + 1) / self.capacity)
        attempt.seconds = min(takes, policy.first_byte)
        if takes > policy.first_byte:
            attempt.error = UpstreamTimeout("too late")
            self.timed_out += 1
        else:
            attempt.reply = Reply()
        heapq.heappush(self._ends, (now + attempt.seconds, next(self._numbers), attempt))
        return True

    def _finish(self, attempt: Attempt) -> None:
        self.tuner.done(attempt)
