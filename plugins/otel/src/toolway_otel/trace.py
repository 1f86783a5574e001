"""A trace while its request is served: ids and times, of which spans are made once it is known to be kept."""

from __future__ import annotations

from random import randbytes, random
from time import time_ns
from typing import Any

import msgspec

from toolway.hookspecs.attempts import Attempt
from toolway.hookspecs.routing import Call, Reply
from toolway_otel.context import Remote

KEY = "toolway_otel"
"""Where a request and its calls have their trace."""


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


class Ended(msgspec.Struct, eq=False):
    """A call or an attempt, and when it began and ended (nanoseconds since 1970); `reply` is the call's."""

    what: Call | Attempt
    start: int
    end: int
    reply: Reply | None = None


class Trace(msgspec.Struct, eq=False):
    """What is known of one request. It `is_sampled` if the head decision was so, `parent` is the span elsewhere.

    `ended` is what was not sent yet. Most traces are thrown away, so calls and attempts have an id only when somebody
    has to know it, and `links` is empty for nearly all.
    """

    id: str
    parent: str
    is_sampled: bool
    is_remote: bool
    root: str
    start: int
    carried: dict[str, str]
    ended: list[Ended] = []
    ids: dict[Call | Attempt, str] = {}
    links: dict[Call | Attempt, Remote] = {}
    failed: bool = False
    is_over: bool = False
    is_kept: bool = False

    def id_of(self, what: Call | Attempt) -> str:
        """The id of its span."""
        found = self.ids.get(what)
        if found is None:
            found = self.ids[what] = randbytes(8).hex()
        return found

    def traceparent(self, attempt: Attempt) -> str:
        """For whoever is called by this attempt."""
        return f"00-{self.id}-{self.id_of(attempt)}-0{int(self.is_sampled)}"

    def follow(self, remote: Remote) -> None:
        """It began elsewhere."""
        self.id, self.parent, self.is_sampled, self.is_remote = remote.trace_id, remote.span_id, remote.is_sampled, True


def begin(remote: Remote | None, carried: dict[str, str], ratio: float) -> Trace:
    """A trace that goes on, or one that begins, of which so many are sampled."""
    digits = randbytes(24).hex()
    root, now = digits[32:], time_ns()
    if remote is not None:
        return Trace(remote.trace_id, remote.span_id, remote.is_sampled, True, root, now, carried)
    return Trace(digits[:32], "", random() < ratio, False, root, now, carried)
