"""What changed, and why."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

import msgspec

log = logging.getLogger("toolway_autotune")

KEPT = 200


class Event(msgspec.Struct, frozen=True):
    """A value changed, or would have if `mode` were `apply`. `at` is seconds since 1970.

    None as `before` or `after` is what the upstream declares, or for `mode` what the configuration says. `actor` is
    empty for what tuning did itself.
    """

    at: float
    upstream: str
    value: str
    before: float | str | None
    after: float | str | None
    reason: str
    mode: str
    tool: str = ""
    actor: str = ""


Heard = Callable[[Event], None]


class Journal:
    """The last events of one upstream, newest last; each is told to the log, and to `heard`."""

    def __init__(self, heard: Heard = lambda event: None) -> None:
        self._heard = heard
        self.events: deque[Event] = deque(maxlen=KEPT)

    def add(self, event: Event) -> None:
        """It happened."""
        self.events.append(event)
        self._heard(event)
        what = f"{event.upstream}/{event.tool}" if event.tool else event.upstream
        verb = "is" if event.mode == "apply" or event.actor else "would be"
        log.info("%s of %s %s %s, was %s: %s", event.value, what, verb, event.after, event.before, event.reason)
