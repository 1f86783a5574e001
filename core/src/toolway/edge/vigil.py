"""Keeps the event loop awake for the moment in which the next message is about to come."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic

AWAKE = 1e-4
"""Seconds: to fall asleep and to be woken up again can take as long."""
RAREST = 1_022
"""Most messages in a row for which it is not tried, after some behind which nothing came."""


class Vigil:
    """Looks for messages without sleeping, as long as they follow each other closely.

    A processor that is given away while an answer is on its way is often had back later than that. Behind a message
    that nothing follows in time, as with slow upstreams, it is tried again after twice as many of them each time: an
    even number, as upstreams and clients take turns, and one of them may be fast where the other is not.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], object], now: Callable[[], float] = monotonic) -> None:
        """`now` is in seconds."""
        self._call_soon, self._now = call_soon, now
        self._is_kept, self._has_looked, self._until = False, False, 0.0
        self._rest = self._left = 0

    def keep(self) -> None:
        """A message went out."""
        if self._is_kept:
            if self._has_looked:  # so this one was caused by something that came in time
                self._rest = 0
        elif self._left:
            self._left -= 1
            return
        else:
            self._is_kept = True
            self._call_soon(self._look)
        self._has_looked, self._until = False, self._now() + AWAKE

    def _look(self) -> None:
        self._has_looked = True
        if self._now() < self._until:
            os.sched_yield()  # whoever is to send the message may need this very processor
            self._call_soon(self._look)
        else:
            self._is_kept = False
            self._rest = self._left = min(2 * self._rest + 2, RAREST)
