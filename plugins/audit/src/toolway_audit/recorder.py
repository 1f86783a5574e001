"""Writes administrative changes down, each in its own transaction."""

from __future__ import annotations

from toolway.hookspecs.system import Change
from toolway.hookspecs.telemetry import SERVED, Served
from toolway.plugin import Clock
from toolway_audit.chain import Chain
from toolway_audit.writing import Event, Scribe


class AuditRecorder:
    """A change whose record cannot be written does not happen: the transaction is one."""

    name = "audit"
    is_last = True

    def __init__(self, chain: Chain, scribe: Scribe, clock: Clock) -> None:
        self._chain = chain
        self._scribe = scribe
        self._clock = clock

    async def record(self, change: Change) -> None:
        """See `ChangeRecorder`."""
        now = self._clock.now()
        event = Event(now, change.action, change.subject, "ok", change.actor, before=change.before, after=change.after)
        if (request := SERVED.get()) is not None:
            came_with(event, request)
        await self._chain.append(change, [self._scribe.entry(event)], now)


def came_with(event: Event, request: Served) -> None:
    """Add the request that it came with; the credential is that of the actor, not of whom the gateway acts for."""
    client = request.scope.get("client")
    event.address = client[0] if client else ""
    event.request_id = request.request_id
    principal = request.principal
    if principal is not None and principal.id == event.actor:
        event.credential = principal.credential
        if principal.on_behalf_of is not None:
            event.details = {**(event.details or {}), "on_behalf_of": principal.on_behalf_of.id}
