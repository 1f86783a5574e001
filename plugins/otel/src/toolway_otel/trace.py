"""A trace while its request is served: little more than names and times, until it is known to be kept."""

from __future__ import annotations

from random import getrandbits
from time import time_ns
from typing import Any

import msgspec

from toolway_otel.context import Remote

KEY = "toolway_otel"
"""Where the trace of a request, and the span of a call, are kept."""


class Span(msgspec.Struct, eq=False):
    """One span; times are nanoseconds since 1970. `error` is the description of a failed one."""

    name: str
    kind: str
    parent: int
    id: int = msgspec.field(default_factory=lambda: getrandbits(64) or 1)
    start: int = msgspec.field(default_factory=time_ns)
    end: int = 0
    attributes: dict[str, Any] = {}
    error: str | None = None
    link: Remote | None = None


class Trace(msgspec.Struct, eq=False):
    """The spans of one request. It `is_sampled` if the head decision was so; `spans` are those that ended."""

    id: int
    parent: int
    is_sampled: bool
    is_remote: bool
    root: Span
    carried: dict[str, str] = {}
    spans: list[Span] = []
    failed: bool = False
    is_over: bool = False
    is_kept: bool = False

    def traceparent(self, span: Span) -> str:
        """For whoever is called from this span."""
        return f"00-{self.id:032x}-{span.id:016x}-0{int(self.is_sampled)}"

    def follow(self, remote: Remote) -> None:
        """It began elsewhere."""
        self.id, self.parent, self.is_sampled, self.is_remote = remote.trace_id, remote.span_id, remote.is_sampled, True


def begin(remote: Remote | None, carried: dict[str, str], bound: int) -> Trace:
    """A trace that goes on or begins; of those that begin, ids below the bound are sampled (TraceIdRatioBased)."""
    root = Span("", "server", remote.span_id if remote is not None else 0)
    if remote is not None:
        return Trace(remote.trace_id, remote.span_id, remote.is_sampled, True, root, carried)
    identity = getrandbits(128) or 1
    return Trace(identity, 0, (identity & 0xFFFFFFFFFFFFFFFF) < bound, False, root, carried)
