"""The last calls that took long."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from toolway.hookspecs.routing import Call
from toolway.hookspecs.telemetry import CallWatcher
from toolway.plugin import Clock

KEPT = 200


class SlowCalls(CallWatcher):
    """See `CallWatcher`. Neither arguments nor results are kept, nor who called."""

    name = "diagnostics"

    def __init__(self, slow: float, clock: Clock) -> None:
        self.rows: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._slow, self._clock = slow, clock

    def done(self, calls: Iterator[Call]) -> None:
        """Keep those that were slow, the last one first."""
        for call in calls:
            if call.seconds >= self._slow:
                self._keep(call)

    def _keep(self, call: Call) -> None:
        target = call.target
        self.rows.appendleft(
            {
                "ended_at": self._clock.now(),
                "seconds": round(call.seconds, 3),
                "method": call.method,
                "server": call.server,
                "upstream": target.upstream if target else "",
                "item": target.name if target else "",
                "outcome": call.outcome,
            }
        )
