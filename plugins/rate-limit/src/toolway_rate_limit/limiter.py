"""Admits calls: every rule has to agree, and the gateway must not have too much to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from toolway.hookspecs.routing import CALL_METHODS, Call, CallNext, Reply
from toolway.plugin import Clock
from toolway_rate_limit.limit import Held, Limit, Taken
from toolway_rate_limit.shedder import Shedder

POLICY, STATE = "ratelimit-policy", "ratelimit"


class Limiter:
    """Middleware around every call. What one rule gave is given back when another one refuses."""

    name = "rate-limit"
    methods: ClassVar[frozenset[str]] = CALL_METHODS

    def __init__(self, limits: Sequence[Limit], shedder: Shedder | None, clock: Clock) -> None:
        self.limits = tuple(limits)
        self._shedder = shedder
        self._now = clock.monotonic

    async def __call__(self, call: Call, call_next: CallNext) -> Reply:
        """See `RequestMiddleware`; raises RateLimited and Overloaded."""
        shedder = self._shedder
        if shedder is not None and (refusal := shedder.enter(call)) is not None:
            await shedder.hold()
            raise refusal
        taken: Taken = []
        held: Held = []
        try:
            await self._admit(call, taken, held)
            return await call_next(call)
        finally:
            for places, key in held:
                places.leave(key)
            if shedder is not None:
                shedder.leave()

    async def _admit(self, call: Call, taken: Taken, held: Held) -> None:
        told: list[tuple[Limit, Sequence[str]]] = []
        try:
            now = self._now()
            for limit in self.limits:
                claims = limit.claims
                if claims is None or claims(call):
                    keys = limit.keys(call)
                    for key in keys:
                        if not limit.take(key, now, taken, held):
                            await limit.ask(key, taken, held)
                            now = self._now()
                    if limit.is_personal and keys:
                        told.append((limit, keys))
        except BaseException:
            for counter, key in taken:
                counter.give_back(key)
            raise
        if len(told) == 1:
            limit, keys = told[0]
            call.reply_headers.update({POLICY: limit.policy, STATE: limit.left(keys, now)})
        elif told:
            call.reply_headers[POLICY] = ", ".join([limit.policy for limit, _ in told])
            call.reply_headers[STATE] = ", ".join([limit.left(keys, now) for limit, keys in told])
