"""The circuit of one endpoint: the state machine of pybreaker, driven with the gateway's clock.

Of pybreaker are the states, the counters and the transitions that counting causes. It never decides when an open
circuit has been open for long enough, because it asks the system's clock, and it never sees a call, because it cannot
wait for one: it is told how each ended (docs/explanation/breakers.md).
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Literal

from pybreaker import (
    STATE_CLOSED,
    STATE_HALF_OPEN,
    STATE_OPEN,
    CircuitBreaker,
    CircuitBreakerListener,
    CircuitBreakerState,
    CircuitMemoryStorage,
)

from toolway_breaker.faults import Fault
from toolway_breaker.limits import BreakerSettings
from toolway_breaker.window import Window

State = Literal["closed", "open", "half-open"]
NAMES: dict[str, State] = {STATE_CLOSED: "closed", STATE_OPEN: "open", STATE_HALF_OPEN: "half-open"}
PROBE_SECONDS = 1.0
"""What is told to wait while a single call finds out how the endpoint is."""

Uniform = Callable[[float, float], float]
Told = Callable[[State, State, str], None]


class _Failed(Exception):
    """Tells pybreaker that a call failed."""


class Circuit(CircuitBreakerListener):
    """Closed, open, or half-open with one call at a time. All times are monotonic seconds.

    `told` hears of each change of the state: from, to and why. `begin` gets whatever identifies an attempt.
    """

    def __init__(self, limits: BreakerSettings, told: Told, uniform: Uniform = random.uniform) -> None:
        self._limits = limits
        self._told = told
        self._uniform = uniform
        self._storage = CircuitMemoryStorage(STATE_CLOSED)
        self._machine = CircuitBreaker(
            fail_max=limits.faults,
            success_threshold=limits.good_probes,
            listeners=[self],
            state_storage=self._storage,
            throw_new_error_on_trip=False,
        )
        self._window = Window(limits.window)
        self._now = 0.0
        self._probe: object = None
        self.reason = ""
        self.is_held = False
        self.openings = 0
        self.since = self.until = -1.0

    @property
    def state(self) -> State:
        """What it is now; an open one is half-open once somebody tries it."""
        return NAMES[self._storage.state]

    @property
    def is_closed(self) -> bool:
        """Whether calls may go through as always."""
        return bool(self._storage.state == STATE_CLOSED)

    @property
    def faults(self) -> int:
        """Faults in a row."""
        return self._storage.counter

    def wait(self, now: float) -> float:
        """Seconds until a call may be made; 0 when it may now."""
        state = self._storage.state
        if state == STATE_CLOSED:
            return 0.0
        if state == STATE_OPEN:
            return self._limits.max_open_time if self.is_held else max(0.0, self.until - now)
        return 0.0 if self._probe is None else PROBE_SECONDS

    def begin(self, attempt: object, now: float) -> None:
        """A call is made: if it is not closed, this is the one that finds out."""
        if self.is_closed or self.wait(now):
            return
        self._now, self._probe = now, attempt
        if self._storage.state == STATE_OPEN:
            self.reason = f"{self.reason}; a single call finds out whether it is well again"
            self._machine.half_open()

    def good(self, attempt: object, now: float, begun: float) -> None:
        """A call was answered. One that began before the present state says nothing about it."""
        if self._counts(attempt, now, begun):
            self._window.add(now, is_fault=False)
            if self._storage.counter or not self.is_closed:
                self._machine.call(bool)

    def bad(self, attempt: object, now: float, begun: float, fault: Fault) -> None:
        """A call failed."""
        if not self._counts(attempt, now, begun):
            return
        self._window.add(now, is_fault=True)
        self._count_fault(fault)
        if self.is_closed:
            calls, faults = self._window.totals(now)
            if calls >= self._limits.minimum_calls and faults >= calls * self._limits.fault_rate:
                self._open(f"{faults} of {calls} calls failed within {self._limits.window:g} s", fault.retry_after)
            elif fault.retry_after and self._limits.obey_retry_after:
                self._open("it asked to be left alone (Retry-After)", fault.retry_after)

    def neutral(self, attempt: object) -> None:
        """A call ended without showing anything, such as one that was cancelled."""
        if attempt is self._probe:
            self._probe = None

    def hold_open(self, now: float) -> None:
        """Open it until `close`."""
        self._now, self.reason = now, "it was opened by hand"
        self.is_held = True
        self._probe = None
        if self._storage.state != STATE_OPEN:
            self._machine.open()
        self.since = self.until = now

    def close(self, now: float) -> None:
        """Close it, whatever it is."""
        self._now, self.reason = now, "it was closed by hand"
        self.is_held = False
        self._storage.reset_counter()
        if not self.is_closed:
            self._machine.close()

    def state_change(
        self, cb: CircuitBreaker, old_state: CircuitBreakerState | None, new_state: CircuitBreakerState
    ) -> None:
        """See pybreaker; called inside of each transition."""
        old, new = NAMES[old_state.name if old_state else STATE_CLOSED], NAMES[new_state.name]
        self.since = self._now
        if new != "half-open":
            self._probe = None
        if new == "closed":
            self.openings = 0
            self._window.clear()
            if old == "half-open" and not self.reason.endswith("by hand"):
                self.reason = f"{self._limits.good_probes} calls in a row were good"
        self._told(old, new, self.reason)

    def _counts(self, attempt: object, now: float, begun: float) -> bool:
        self._now = now
        state = self._storage.state
        if state == STATE_HALF_OPEN:
            is_probe, self._probe = attempt is self._probe, None if attempt is self._probe else self._probe
            return is_probe
        return state == STATE_CLOSED and begun >= self.since

    def _count_fault(self, fault: Fault) -> None:
        """Told as a call that fails; the machine may open then, and hears first why and for how long."""
        is_last = not self.is_closed or self._storage.counter + 1 >= self._limits.faults
        if is_last:
            many = f"{self._storage.counter + 1} faults in a row"
            self._plan(f"{many}, the last one: {fault.kind}" if self.is_closed else fault.kind, fault.retry_after)
        with contextlib.suppress(_Failed):
            self._machine.call(_fail)

    def _open(self, reason: str, retry_after: float) -> None:
        self._plan(reason, retry_after)
        self._machine.open()

    def _plan(self, reason: str, retry_after: float) -> None:
        """Doubles up to the maximum, less a random part of it; what the upstream asked for is obeyed as it is."""
        limits = self._limits
        spread = 1 + limits.jitter
        longest = min(limits.max_open_time, limits.open_time * 2 ** min(self.openings, 30) * spread)
        seconds = self._uniform(max(longest / spread, min(limits.open_time, longest)), longest)
        if retry_after and limits.obey_retry_after:
            seconds = min(retry_after, limits.max_retry_after)
        self.reason, self.until = reason, self._now + seconds
        self.openings += 1


def _fail() -> None:
    raise _Failed
