"""Says how much load has to go, from the delay of the event loop: a controller that is moved by a clock."""

from __future__ import annotations

from collections import deque

TICK_SECONDS = 0.02
"""Between two looks at the event loop."""
WINDOW_SECONDS = 5.0
STEP_SECONDS = 0.1
GROWTH, MOST_GROWTH, DECAY = 0.1, 3.0, 0.025
"""Of the level, in each step: more for longer delays; back to nothing within 4 s, so load is back within 5 s."""


class Overload:
    """`level` is 0 while there is no overload, 1 at most.

    It grows while the 99th percentile of the last 5 s and the delays since the last step are above `threshold`
    (seconds), and shrinks otherwise. A delay counts for each look that it kept from being taken, or a long one
    would look rarer than it is.
    """

    def __init__(self, threshold: float, most: float = 1.0) -> None:
        self.level = 0.0
        self._threshold, self._most = threshold, most
        self._lags: deque[tuple[float, float]] = deque()
        self._stepped = 0.0
        self._recent = 0.0

    def observe(self, lag: float, now: float) -> None:
        """The event loop was late by `lag` seconds."""
        self._recent = max(self._recent, lag)
        self._lags.append((now, lag))
        lag = min(lag, WINDOW_SECONDS)
        while lag > TICK_SECONDS:
            lag -= TICK_SECONDS
            self._lags.append((now, lag))
        while self._lags[0][0] <= now - WINDOW_SECONDS:
            self._lags.popleft()
        if now - self._stepped >= STEP_SECONDS:
            self._stepped = now
            self._step()

    def p99(self) -> float:
        """The delay that 99 of 100 looks stayed below, in seconds."""
        lags = sorted(lag for _, lag in self._lags)
        return lags[int(len(lags) * 0.99)] if lags else 0.0

    def _step(self) -> None:
        recent, self._recent = self._recent, 0.0
        if recent > self._threshold and self.p99() > self._threshold:
            self.level = min(self._most, self.level + GROWTH * min(MOST_GROWTH, recent / self._threshold))
        else:
            self.level = max(0.0, self.level - DECAY)
