"""Whatever happens in whatever order, a circuit keeps its promises."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from toolway_breaker.circuit import Circuit, State
from toolway_breaker.faults import Fault
from toolway_breaker.limits import BreakerSettings

LIMITS = BreakerSettings()
POSSIBLE = {("closed", "open"), ("open", "half-open"), ("half-open", "open")} | {
    ("half-open", "closed"),
    ("open", "closed"),
}


class CircuitMachine(RuleBasedStateMachine):
    """Calls begin where the circuit allows it, and end in any order and way, while time passes."""

    calls: Bundle[tuple[object, float]] = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.told: list[tuple[State, State, float]] = []
        self.circuit = Circuit(LIMITS, lambda old, new, _: self.told.append((old, new, self.now)))
        self.probes: set[object] = set()
        self.in_a_row = 0

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 7.5, 30.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=calls)
    def a_call_begins_if_it_may(self) -> Any:
        attempt = object()
        if self.circuit.wait(self.now) == 0:
            is_free = self.circuit.state == "closed"
            self.circuit.begin(attempt, self.now)
            if not is_free:
                self.probes.add(attempt)
        return attempt, self.now

    @rule(call=consumes(calls))
    def it_is_answered(self, call: tuple[object, float]) -> None:
        self.circuit.good(call[0], self.now, call[1])
        self.probes.discard(call[0])

    @rule(call=consumes(calls), asked=st.sampled_from([0.0, 0.0, 1.0, 100.0]))
    def it_fails(self, call: tuple[object, float], asked: float) -> None:
        self.circuit.bad(call[0], self.now, call[1], Fault("timeout", asked))
        self.probes.discard(call[0])

    @rule(call=consumes(calls))
    def it_is_cancelled(self, call: tuple[object, float]) -> None:
        before = self.circuit.state, self.circuit.faults, self.circuit.openings
        self.circuit.neutral(call[0])
        self.probes.discard(call[0])
        assert (self.circuit.state, self.circuit.faults, self.circuit.openings) == before

    @rule()
    def somebody_opens_it(self) -> None:
        self.circuit.hold_open(self.now)
        self.probes.clear()

    @rule()
    def somebody_closes_it(self) -> None:
        self.circuit.close(self.now)
        self.probes.clear()

    @invariant()
    def one_call_at_most_finds_out(self) -> None:
        if self.circuit.state == "half-open":
            assert len(self.probes) <= 1
            assert bool(self.probes) == bool(self.circuit.wait(self.now))

    @invariant()
    def nobody_waits_for_more_than_a_minute(self) -> None:
        assert 0 <= self.circuit.wait(self.now) <= LIMITS.max_open_time
        assert self.circuit.state != "closed" or self.circuit.wait(self.now) == 0

    @invariant()
    def a_closed_one_has_less_faults_than_open_it(self) -> None:
        assert self.circuit.state != "closed" or self.circuit.faults < LIMITS.faults

    @invariant()
    def only_possible_changes_are_told_and_each_begins_where_the_last_one_ended(self) -> None:
        assert {each[:2] for each in self.told} <= POSSIBLE
        assert all(one[1] == next_one[0] for one, next_one in zip(self.told, self.told[1:], strict=False))
        assert self.circuit.state == (self.told[-1][1] if self.told else "closed")


TestCircuitMachine = CircuitMachine.TestCase
