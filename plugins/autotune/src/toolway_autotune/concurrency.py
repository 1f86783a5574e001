"""How many calls at once an upstream can bear: Gradient2 of Netflix' concurrency-limits."""

from __future__ import annotations

import math

import msgspec

WINDOW_SECONDS, WINDOW_SAMPLES = 1.0, 10
"""The limit is thought about at most once in this time, and with at least so many samples."""
WARM_UP = 10
"""For so many windows the average is the plain one."""
LEAST_QUEUE = 4.0
RECOVERY = 0.95
"""When things are more than twice as fast as the average, this brings it down quickly."""


class Average(msgspec.Struct):
    """An exponential average over `window` values."""

    window: int
    value: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        """One more."""
        self.count += 1
        factor = 1 / self.count if self.count <= WARM_UP else 2 / (self.window + 1)
        self.value += factor * (value - self.value)


class Window(msgspec.Struct):
    """What one tool did lately."""

    seconds: float = 0.0
    count: int = 0


class Gradient2:
    """The limit shrinks when calls take longer than they used to, and grows while they do not.

    Each tool is compared with itself, so that a change of what is called is not taken for overload. `samples` counts
    those that were looked at: what ran while the upstream was hardly used says nothing about its limit.
    """

    def __init__(
        self, *, initial: int, minimum: int, maximum: int, smoothing: float, long_window: int, tolerance: float
    ) -> None:
        self.limit = float(initial)
        self.samples = 0
        self.ratio = 1.0
        self._minimum, self._maximum = minimum, maximum
        self._smoothing = smoothing
        self._long_window = long_window
        self._tolerance = tolerance
        self._usual: dict[str, Average] = {}
        self._window: dict[str, Window] = {}
        self._count = self._peak = 0
        self._since = 0.0

    def bound(self, minimum: int, maximum: int) -> None:
        """From now on the limit is within these."""
        self._minimum, self._maximum = minimum, max(minimum, maximum)
        self.limit = min(max(self.limit, self._minimum), self._maximum)

    def forget(self, tool: str) -> None:
        """It is not used any more."""
        self._usual.pop(tool, None)

    def sample(self, tool: str, seconds: float, in_flight: int, now: float) -> None:
        """An attempt took so long while `in_flight` were running, with it."""
        window = self._window.get(tool)
        if window is None:
            if not self._window:
                self._since, self._count, self._peak = now, 0, 0
            window = self._window[tool] = Window()
        window.seconds += seconds
        window.count += 1
        self._count += 1
        if in_flight > self._peak:
            self._peak = in_flight
        if self._count >= WINDOW_SAMPLES and now - self._since >= WINDOW_SECONDS:
            self._update()

    def _update(self) -> None:
        compared = 0.0
        for tool, window in self._window.items():
            usual = self._usual.setdefault(tool, Average(self._long_window))
            short = max(window.seconds / window.count, 1e-6)
            usual.add(short)
            compared += window.count * short / usual.value
            if usual.value > 2 * short:
                usual.value *= RECOVERY
        self._window = {}
        self.ratio = compared / self._count
        if self._peak < self.limit / 2:
            return
        self.samples += self._count
        gradient = max(0.5, min(1.0, self._tolerance / self.ratio))
        if gradient == 1.0:  # what went well is no longer a question
            self.limit = max(self.limit, min(self._peak, self._maximum))
        wanted = self.limit * gradient + max(LEAST_QUEUE, math.sqrt(self.limit))
        smoothed = self.limit + self._smoothing * (wanted - self.limit)
        self.limit = min(max(smoothed, self._minimum), self._maximum)
