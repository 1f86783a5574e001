"""Failures of REST APIs: errors for whatever learns from attempts, results of the tool for the client."""

from __future__ import annotations

from typing import ClassVar

from toolway.hookspecs.routing import Call, CallNext, Reply
from toolway.plugin import UpstreamError, UpstreamUnauthorized


class ApiFailed(UpstreamError):
    """The API answered with a status that means trouble: 429, or 500 and above; `reply` is what the client sees."""

    def __init__(self, message: str, reply: Reply, *, sent: bool, status: int, retry_after: int | None) -> None:
        wait = {} if retry_after is None else {"retry_after": retry_after}
        super().__init__(message, sent=sent, upstream_status=status, **wait)
        self.reply = reply


class ApiRefused(UpstreamUnauthorized):
    """The API refused the gateway's credential; `reply` is what the client sees."""

    def __init__(self, message: str, reply: Reply) -> None:
        super().__init__(message, sent=False, upstream_status=401)
        self.reply = reply


class ShownFailures:
    """A call whose last attempt was answered by the API with an error ends in a result that `isError`."""

    name = "rest"
    methods: ClassVar[frozenset[str]] = frozenset({"tools/call"})

    async def __call__(self, call: Call, call_next: CallNext) -> Reply:
        """See `RequestMiddleware`."""
        try:
            return await call_next(call)
        except (ApiFailed, ApiRefused) as failed:
            return failed.reply
