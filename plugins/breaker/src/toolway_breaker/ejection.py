"""The ejection of an endpoint that fails while others do not (Envoy's outlier detection)."""

from __future__ import annotations

import random

from toolway_breaker.circuit import Uniform
from toolway_breaker.limits import BreakerSettings


class Ejection:
    """Whether one endpoint is ejected. All times are monotonic seconds."""

    __slots__ = ("_limits", "_uniform", "faults", "times", "until")

    def __init__(self, limits: BreakerSettings, uniform: Uniform = random.uniform) -> None:
        self._limits = limits
        self._uniform = uniform
        self.clear()

    def clear(self) -> None:
        """Not ejected, and never was."""
        self.faults = self.times = 0
        self.until = -1.0

    def end(self, now: float) -> None:
        """Not ejected from now on; how often it was is remembered."""
        self.faults, self.until = 0, min(self.until, now)

    def is_on(self, now: float) -> bool:
        """Whether it is ejected."""
        return now < self.until

    def good(self, begun: float) -> None:
        """A call that began then was answered."""
        if begun >= self.until:
            self.faults = 0

    def is_due(self, begun: float) -> bool:
        """Whether a call that began then, and failed, is one too many; calls from before the last ejection are not."""
        if begun < self.until or not self._limits.eject_faults:
            return False
        self.faults += 1
        return self.faults >= self._limits.eject_faults

    def eject(self, now: float) -> float:
        """Eject it; for how many seconds. Each `ejection_time` without makes up for one ejection."""
        limits = self._limits
        if self.times:
            self.times = max(0, self.times - int((now - self.until) / limits.ejection_time))
        self.times += 1
        self.faults = 0
        seconds = min(limits.max_ejection_time, limits.ejection_time * self.times)
        seconds *= self._uniform(1 - limits.ejection_jitter, 1 + limits.ejection_jitter)
        self.until = now + min(seconds, limits.max_ejection_time)
        return self.until - now
