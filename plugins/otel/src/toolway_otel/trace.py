"""A trace while its request is served: little more than names and times, until it is known to be kept."""

from __future__ import annotations

from random import getrandbits, random
from time import time_ns
from typing import Any

import msgspec

from toolway_otel.context import Remote

KEY = "toolway_otel"
"""Where the trace of a request, and the span of a call, are kept."""


class Span(msgspec.Struct, eq=False):
    """One span; times are nanoseconds since 1970. `error` is the description of a failed one.

    What it is `of` says the rest, once that is asked for. Most are thrown away unseen, so each has an id only when
    somebody has to know it.
    """

    kind: str
    parent: Span | None
    start: int
    known: str = ""
    name: str = ""
    end: int = 0
    attributes: dict[str, Any] = {}
    error: str | None = None
    link: Remote | None = None
    events: list[tuple[str, int]] = []
    of: Any = None

    @property
    def id(self) -> str:
        """In hexadecimal."""
        self.known = self.known or f"{getrandbits(64):016x}"
        return self.known


class Trace(msgspec.Struct, eq=False):
    """The spans of one request. It `is_sampled` if the head decision was so; `spans` ended and are not sent yet.

    `parent` is the id of the span elsewhere that it goes on from, if it does not begin here.
    """

    id: str
    parent: str
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
        return f"00-{self.id}-{span.id}-0{int(self.is_sampled)}"

    def follow(self, remote: Remote) -> None:
        """It began elsewhere."""
        self.id, self.parent, self.is_sampled, self.is_remote = remote.trace_id, remote.span_id, remote.is_sampled, True


def span(kind: str, parent: Span | None) -> Span:
    """One that begins now."""
    return Span(kind, parent, time_ns())


def begin(remote: Remote | None, carried: dict[str, str], ratio: float) -> Trace:
    """A trace that goes on, or one that begins, of which so many are sampled."""
    digits = f"{getrandbits(192):048x}"
    root = Span("server", None, time_ns(), digits[32:])
    if remote is not None:
        return Trace(remote.trace_id, remote.span_id, remote.is_sampled, True, root, carried)
    return Trace(digits[:32], "", random() < ratio, False, root, carried)
