"""What is known of one endpoint: latency, calls in flight, faults, health, and what a further call there costs."""

from __future__ import annotations

from math import exp, inf

import msgspec

from toolway.hookspecs.routing import Endpoint

MOST_FAULTS = 10.0
LEAST_SHARE = 0.1
UNHEALTHY_COST = 16.0


class Replica(msgspec.Struct, eq=False):
    """One endpoint; times are monotonic seconds.

    `rtt` is its peak EWMA at `measured`: a slower answer counts at once, faster ones slowly (Finagle's `PeakEwma`).
    `faults` counts those of attempts, halved by each good one and forgotten as latency is. `heard` is the last answer
    to a call or health check, or the begin of the first call in flight. `began` is when it was added or became healthy
    again. `due` is its next health check.
    """

    endpoint: Endpoint
    rtt: float
    decay: float
    slow_start: float
    measured: float
    weight: float = 1.0
    is_new: bool = True
    in_flight: int = 0
    attempts: int = 0
    heard: float = 0.0
    faults: float = 0.0
    faulted: float = 0.0
    fault_run: int = 0
    began: float = -inf
    is_healthy: bool = True
    reason: str = ""
    changed: float = 0.0
    good: int = 0
    bad: int = 0
    due: float = 0.0
    turn: float = 0.0

    def begin(self, now: float) -> None:
        """A call is sent there."""
        if not self.in_flight:
            self.heard = now
        self.in_flight += 1
        self.attempts += 1

    def end(self, now: float) -> None:
        """A call that was begun has ended, whatever the outcome."""
        self.in_flight -= 1
        self.heard = now

    def answered(self, seconds: float, now: float) -> None:
        """It took that long to answer well."""
        kept = exp((self.measured - now) / self.decay)
        if self.is_new or seconds > self.rtt * kept:
            self.rtt = seconds
            self.is_new = False
        else:
            self.rtt = self.rtt * kept + seconds * (1 - kept)
        self.measured = now
        self.fault_run = 0
        if self.faults:
            self.faults = self.faults_now(now) / 2
            self.faulted = now

    def waited(self, seconds: float, now: float) -> None:
        """For that long there was no good answer, so one would have taken longer: counts when it is a peak."""
        if seconds > self.latency(now):
            self.rtt, self.measured, self.is_new = seconds, now, False

    def failed(self, now: float) -> None:
        """An attempt ended with a fault of the endpoint."""
        self.faults = min(self.faults_now(now) + 1, MOST_FAULTS)
        self.faulted = now
        self.fault_run += 1

    def faults_now(self, now: float) -> float:
        """The faults that are not forgotten yet."""
        return self.faults * exp((self.faulted - now) / self.decay)

    def well(self, now: float) -> None:
        """A health check was answered: calls in flight take long because they do, not because it hangs."""
        if self.in_flight:
            self.rtt *= exp((self.measured - now) / self.decay)
            self.measured = self.heard = now

    def latency(self, now: float) -> float:
        """Seconds that an answer is expected to take.

        What is known is forgotten while nobody waits: then one call finds out. While calls are in flight, it is at
        least as long as nothing was heard.
        """
        if self.in_flight:
            return max(self.rtt, now - self.heard)
        return self.rtt * exp((self.measured - now) / self.decay)

    def cost(self, now: float) -> float:
        """Of a further call, by latency, calls in flight and health."""
        return self.latency(now) * self.load(now)

    def load(self, now: float) -> float:
        """Of a further call, by calls in flight and health: each fault doubles it."""
        load = (self.in_flight + 1) / (self.weight or 1.0)
        if self.faults:
            load *= 2 ** self.faults_now(now)
        if not self.is_healthy:
            load *= UNHEALTHY_COST
        if now - self.began < self.slow_start:
            load /= self.share(now)
        return load

    def share(self, now: float) -> float:
        """The part of its weight that it has: 0.1 when it begins, 1 after the slow start."""
        if now - self.began >= self.slow_start:
            return 1.0
        return max(LEAST_SHARE, (now - self.began) / self.slow_start)
