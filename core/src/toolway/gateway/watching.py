"""Tells watchers of requests and calls; what they do wrong is logged and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import Context
from time import monotonic

from msgspec import DecodeError, Raw

from toolway.edge.watched import Late, Told
from toolway.errors import ClientCannot
from toolway.hookspecs.routing import Call, Reply
from toolway.hookspecs.telemetry import CallWatcher, RequestWatcher, Served
from toolway.mcp.messages import says_error

Requests = Sequence[RequestWatcher]

ANSWERED = Reply()
"""What is told of a reply without a fault: results may be large, and are nobody's business."""


class _Gone:
    """The peer of a call that is over."""

    def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """Nobody is there."""

    async def ask(self, method: str, params: Raw) -> Raw:
        """Raises ClientCannot."""
        raise ClientCannot("the call is over; its client cannot be asked any more")


_GONE = _Gone()


class Watchers:
    """All watchers; `api` are those of requests that are not for MCP. `late` is that of `Metrics`.

    What ended is told together, to one watcher after the other: code that was just used costs a fraction of what it
    costs between other code.
    """

    def __init__(self, requests: Requests, calls: Sequence[CallWatcher], api: Requests, late: Late) -> None:
        self.calls = Told[Call](calls, CallWatcher, late, self.tell)
        self.requests = Told[Served](requests, RequestWatcher, late, self.tell)
        self.api = Told[Served](api, RequestWatcher, late, self.tell)
        self.see_calls = bool(requests or calls)

    def done(self, call: Call, reply: Reply | None, began: float) -> None:
        """A call ended, which began then (monotonic seconds)."""
        call.ended = now = monotonic()
        call.seconds, call.peer = now - began, _GONE  # the other peer holds the whole exchange
        call.reply, call.outcome = ANSWERED, "ok"
        if reply is None or reply.fault is not None:
            call.reply, call.outcome = reply, "cancelled" if reply is None else "error"
        elif call.method == "tools/call" and reply.result is not None:
            try:
                call.outcome = "tool_error" if says_error(reply.result) else "ok"
            except DecodeError:
                call.outcome = "error"
        if (served := call.served) is not None and served.calls is not None:
            served.calls.append(call)
            if call.outcome != "ok":
                served.outcome = call.outcome
        self.calls.done(call)

    def tell(self) -> None:
        """Tell now what ended, as nobody's request."""
        Context().run(self._tell)

    def _tell(self) -> None:
        calls = [*self.calls.tell()]
        for request in (*self.api.tell(), *self.requests.tell()):
            calls += request.calls or ()
            request.calls = None
        for call in calls:  # what leads back to it would have to be found by the collector
            if call.served is None or call.served.calls is None:
                call.attempts = call.served = None
