"""The last calls that took long."""

from __future__ import annotations

from collections import deque
from typing import Any

from toolway.hookspecs.routing import Call, Reply
from toolway.hookspecs.telemetry import CallWatcher
from toolway.plugin import Clock

KEPT = 200


class SlowCalls(CallWatcher):
    """See `CallWatcher`. Neither arguments nor results are kept, nor who called."""

    name = "diagnostics"

    def __init__(self, slow: float, clock: Clock) -> None:
        self.rows: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._slow, self._clock = slow, clock

    def done(self, call: Call, reply: Reply | None, seconds: float) -> None:
        """Keep it if it was slow, the last one first."""
        if seconds < self._slow:
            return
        target = call.target
        self.rows.appendleft(
            {
                "ended_at": self._clock.now(),
                "seconds": round(seconds, 3),
                "method": call.method,
                "server": call.server,
                "upstream": target.upstream if target else "",
                "item": target.name if target else "",
                "outcome": call.outcome,
            }
        )
