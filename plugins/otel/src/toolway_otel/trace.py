"""A trace while its request is served; most are thrown away, so there is one only where somebody has to know it."""

from __future__ import annotations

from random import randbytes
from typing import Any

import msgspec

from toolway.hookspecs.attempts import Attempt
from toolway.hookspecs.routing import Call
from toolway.hookspecs.telemetry import Served
from toolway_otel.context import Remote

TRACE, KEPT = "otel trace", "otel kept"
"""Where a request has its trace, and once it is over, that it is kept; most requests have neither."""


class Span(msgspec.Struct, eq=False):
    """One span; ids are hexadecimal, times are nanoseconds since 1970. `error` is the description of a failed one."""

    kind: str
    parent: str
    id: str
    start: int
    end: int
    name: str = ""
    attributes: dict[str, Any] = {}
    error: str | None = None
    link: Remote | None = None
    events: list[tuple[str, int]] = []


class Trace(msgspec.Struct, eq=False):
    """What is known of one request beside its ids. `parent` is the span elsewhere.

    Calls and attempts have an id only when somebody has to know it, and `links` is empty for nearly all.
    """

    id: str
    root: str
    is_sampled: bool
    carried: dict[str, str] = {}
    parent: str = ""
    is_remote: bool = False
    ids: dict[Call | Attempt, str] = {}
    links: dict[Call | Attempt, Remote] = {}

    def id_of(self, what: Call | Attempt) -> str:
        """The id of its span."""
        found = self.ids.get(what)
        if found is None:
            found = self.ids[what] = randbytes(8).hex()
        return found

    def traceparent(self, attempt: Attempt) -> str:
        """For whoever is called by this attempt."""
        return f"00-{self.id}-{self.id_of(attempt)}-0{int(self.is_sampled)}"

    def follow(self, remote: Remote, request: Served) -> None:
        """It began elsewhere."""
        self.id, self.parent, self.is_sampled, self.is_remote = remote.trace_id, remote.span_id, remote.is_sampled, True
        request.trace_id, request.is_sampled, request.is_followed = self.id, self.is_sampled, True


def trace_of(request: Served) -> Trace:
    """The trace of a request that has ids."""
    found: Trace | None = request.__dict__.get(TRACE)
    if found is None:
        found = request.__dict__[TRACE] = Trace(request.trace_id, request.span_id, request.is_sampled)
    return found
