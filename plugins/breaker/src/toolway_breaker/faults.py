"""What counts as a fault of an endpoint, what as good, and what says nothing about it."""

from __future__ import annotations

from typing import Literal

import msgspec

from toolway.hookspecs.attempts import Attempt
from toolway.plugin import (
    CircuitOpen,
    SessionLost,
    UpstreamError,
    UpstreamProtocol,
    UpstreamTimeout,
    UpstreamUnauthorized,
    UpstreamUnreachable,
)

Kind = Literal["no connection", "timeout", "protocol error", "server error"]
NEUTRAL = (CircuitOpen, SessionLost, UpstreamUnauthorized)
"""Errors that do not show that the endpoint is ill: not asked, session forgotten, or credential refused."""


class Fault(msgspec.Struct, frozen=True):
    """A fault; `retry_after` is for how many seconds the endpoint wants to be left alone, or 0."""

    kind: Kind
    retry_after: float = 0.0


def fault_of(attempt: Attempt) -> Fault | None:
    """The fault that the attempt shows, if any.

    An answer is none, also when it is a JSON-RPC error or a tool's `isError`; neither is a status of 4xx (RFC 9110
    section 15.5: the client seems to have erred).
    """
    error = attempt.error
    if not isinstance(error, UpstreamError) or isinstance(error, NEUTRAL):
        return None
    status = error.details.get("upstream_status", 0)
    if 400 <= status < 500:
        return None
    if isinstance(error, UpstreamUnreachable):
        return Fault("no connection")
    if isinstance(error, UpstreamTimeout):
        return Fault("timeout")
    if isinstance(error, UpstreamProtocol):
        return Fault("protocol error")
    return Fault("server error", float(error.details.get("retry_after", 0)))


def is_good(attempt: Attempt) -> bool:
    """Whether the endpoint answered: with a result or a fault of JSON-RPC, or with a status that blames the caller."""
    if attempt.reply is not None and attempt.error is None:
        return True
    error = attempt.error
    return isinstance(error, UpstreamError) and 400 <= error.details.get("upstream_status", 0) < 500
