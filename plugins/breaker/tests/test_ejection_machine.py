"""Several endpoints of one upstream: whatever happens, enough of them are left, and circuits are never ignored."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from toolway.hookspecs.attempts import Attempt
from toolway.hookspecs.definitions import UpstreamSettings
from toolway.hookspecs.routing import Endpoint, Reply, Upstream
from toolway.plugin import UpstreamUnreachable
from toolway_breaker.breakers import Breakers
from toolway_breaker.limits import BreakerSettings
from toolway_testing.clock import MovedClock

LIMITS = BreakerSettings(faults=3, eject_faults=3)
NAMES = ("a", "b", "c", "d")
CALL: Any = None
"""Nothing looks at the call."""


def upstream(names: tuple[str, ...]) -> Upstream:
    endpoints = tuple(Endpoint(name) for name in names)
    return Upstream("up", "http", UpstreamSettings(name="up", kind="http"), endpoints)


class EjectionMachine(RuleBasedStateMachine):
    """Calls that fail and succeed on endpoints that come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = MovedClock()
        self.number = 0
        self.present = upstream(NAMES[:3])
        self.breakers = Breakers(LIMITS, self.clock, self.snapshot)

    def snapshot(self) -> Any:
        return SimpleNamespace(number=self.number, upstreams={"up": SimpleNamespace(upstream=self.present)})

    @rule(seconds=st.sampled_from([0.5, 5.0, 30.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.time += seconds

    @rule(present=st.sets(st.sampled_from(NAMES), min_size=1))
    def endpoints_come_and_go(self, present: set[str]) -> None:
        self.number += 1
        self.present = upstream(tuple(sorted(present)))

    @rule(which=st.integers(0, 3), is_good=st.booleans(), times=st.sampled_from([1, 3]))
    def calls_are_made(self, which: int, is_good: bool, times: int) -> None:
        for _ in range(times):
            narrowed = self.breakers.narrow(self.present, self.present.endpoints, CALL)
            if not narrowed.endpoints:
                assert 0 < narrowed.retry_after <= 60 and narrowed.refused
                return
            chosen = narrowed.endpoints[which % len(narrowed.endpoints)]
            attempt = Attempt(CALL, self.present, chosen)
            self.breakers.begin(attempt)
            attempt.reply = Reply() if is_good else None
            attempt.error = None if is_good else UpstreamUnreachable("no connection")
            self.breakers.done(attempt)

    @rule(which=st.sampled_from(NAMES), verb=st.sampled_from(["open", "close", "reset"]))
    def somebody_acts(self, which: str, verb: str) -> None:
        if which in [each.id for each in self.present.endpoints]:
            getattr(self.breakers, verb)("up", [which])

    @invariant()
    def what_is_left_is_allowed_by_its_circuit_and_nothing_allowed_is_refused(self) -> None:
        watch = self.breakers.watched.get("up")
        known, now = (watch.endpoints if watch else {}), self.clock.time
        allowed = {
            each.id for each in self.present.endpoints if each.id not in known or not known[each.id].circuit.wait(now)
        }
        left = {each.id for each in self.breakers.narrow(self.present, self.present.endpoints, CALL).endpoints}
        assert left <= allowed and bool(left) == bool(allowed)
        ejected = {name for name in allowed if name in known and known[name].ejection.is_on(now)}
        assert left in (allowed, allowed - ejected)

    @invariant()
    def only_endpoints_that_exist_are_known(self) -> None:
        self.breakers.forget_gone()
        watch = self.breakers.watched.get("up")
        assert (watch.endpoints.keys() if watch else set()) <= {each.id for each in self.present.endpoints}

    @invariant()
    def ejections_end_within_five_minutes(self) -> None:
        watch = self.breakers.watched.get("up")
        for each in (watch.endpoints if watch else {}).values():
            assert each.ejection.until - self.clock.time <= LIMITS.max_ejection_time


TestEjectionMachine = EjectionMachine.TestCase
