"""Sees calls, and refuses them while they could not be recorded, if that is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import ClassVar

import msgspec

from toolway.hookspecs.routing import CALL_METHODS, Call, CallNext, Reply
from toolway.hookspecs.telemetry import CallWatcher
from toolway.plugin import Clock, StoreUnavailable
from toolway_audit.buffer import Buffer
from toolway_audit.writing import Event

REFUSED = "audit_refused"
"""The mark of a call that was not let through."""


class Calls(CallWatcher):
    """A watcher of calls; those that went well are left out when only failed ones are wanted."""

    name = "audit"

    def __init__(self, buffer: Buffer, clock: Clock, *, only_failed: bool) -> None:
        self._buffer = buffer
        self._clock = clock
        self._only_failed = only_failed

    def begin(self, call: Call) -> None:
        """Its record will need room."""
        self._buffer.expected += 1

    def done(self, calls: Iterator[Call]) -> None:
        """Keep them."""
        for call in calls:
            if REFUSED in call.__dict__:
                continue  # it needs no room since then
            self._buffer.expected -= 1
            if not (self._only_failed and call.outcome == "ok"):
                self._buffer.add(self._event(call))

    def _event(self, call: Call) -> Event:
        """Names only: neither arguments nor results, which may hold anything."""
        target, principal, served = call.target, call.principal, call.served
        details: dict[str, object] = {"server": call.server, "milliseconds": round(call.seconds * 1000, 3)}
        reply = call.reply
        if reply is not None and reply.fault is not None:
            details["code"] = reply.fault.code
        if principal.on_behalf_of is not None:
            details["on_behalf_of"] = principal.on_behalf_of.id
        return Event(
            self._clock.now() + call.ended - monotonic(),
            call.method,
            f"{target.upstream}/{target.name}" if target is not None else _asked(call),
            call.outcome,
            principal.id,
            principal.credential,
            call.address,
            served.request_id if served is not None else "",
            details=details,
        )


class Gate:
    """Middleware: no call without room for its record."""

    name = "audit"
    methods: ClassVar[frozenset[str]] = CALL_METHODS

    def __init__(self, buffer: Buffer, clock: Clock) -> None:
        self._buffer = buffer
        self._clock = clock

    async def __call__(self, call: Call, call_next: CallNext) -> Reply:
        """See `RequestMiddleware`. Raises StoreUnavailable while there is no room."""
        if self._buffer.is_promised:
            call.__dict__[REFUSED] = True
            self._buffer.expected -= 1
            self._buffer.refuse(self._clock.now())
            raise StoreUnavailable(
                "calls are recorded here, and the audit trail cannot be written now; try again later"
            )
        return await call_next(call)


def _asked(call: Call) -> str:
    """What was asked for, when there is nothing of that name."""
    raw = call.params.get("name") or call.params.get("uri") or b'""'
    try:
        return f"?/{msgspec.json.decode(raw, type=str)}"
    except msgspec.DecodeError:
        return "?"
