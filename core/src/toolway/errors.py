"""Every error that Toolway raises on purpose: a stable code, an HTTP status and a sentence that says what to do."""

from __future__ import annotations

import math
from typing import Any, ClassVar


class ToolwayError(Exception):
    """An expected failure. `code` is stable and documented; the message names what, where and what next.

    `details` are JSON values that an API answer may carry; never put a secret into them.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message, self.details = message, details

    @property
    def headers(self) -> dict[str, str]:
        """Of an HTTP answer: when to try again, where `details` say so in `retry_after` seconds."""
        wait = self.details.get("retry_after", 1 if self.status == 503 else None)
        return {} if wait is None else {"retry-after": str(math.ceil(wait))}


class ConfigError(ToolwayError):
    """The configuration (file, environment or plugin setting) cannot be used as it is."""

    code = "config_invalid"
    status = 400


class PluginError(ConfigError):
    """A plugin is missing, broken or used wrongly; the message names plugin, distribution and version."""

    code = "plugin_invalid"


class InvalidInput(ToolwayError):
    """The request is well-formed but its content is not acceptable."""

    code = "invalid_input"
    status = 400


class Unauthenticated(ToolwayError):
    """No credential, or one that nobody accepts (RFC 6750 section 3)."""

    code = "unauthenticated"
    status = 401


class TooManyFailures(ToolwayError):
    """Too many bad credentials or passwords came from one place; `retry_after` says in how many seconds to go on."""

    code = "too_many_failures"
    status = 429


class Forbidden(ToolwayError):
    """The principal is known and may not do this."""

    code = "forbidden"
    status = 403


class NotFound(ToolwayError):
    """The named object does not exist, or the principal may not see it (the two look the same)."""

    code = "not_found"
    status = 404


class Conflict(ToolwayError):
    """The object changed meanwhile, exists already or is managed by the configuration file."""

    code = "conflict"
    status = 409


class PreconditionFailed(ToolwayError):
    """The `If-Match` revision is not the current one (RFC 9110 section 13.1.1)."""

    code = "precondition_failed"
    status = 412


class SecretUnavailable(ToolwayError):
    """A secret reference could not be resolved; the message names the reference, never a value."""

    code = "secret_unavailable"
    status = 503


class StoreUnavailable(ToolwayError):
    """The database does not answer or is busy; nothing was changed."""

    code = "store_unavailable"
    status = 503


class UpstreamError(ToolwayError):
    """An upstream failed. `sent` says whether the request may have reached it (then its outcome is unknown)."""

    code = "upstream_failed"
    status = 502

    def __init__(self, message: str, *, sent: bool = True, **details: Any) -> None:
        super().__init__(message, **details)
        self.sent = sent


class UpstreamUnreachable(UpstreamError):
    """No connection to the endpoint could be made; nothing was sent."""

    code = "upstream_unreachable"

    def __init__(self, message: str, *, sent: bool = False, **details: Any) -> None:
        super().__init__(message, sent=sent, **details)


class CircuitOpen(UpstreamUnreachable):
    """The endpoints failed too often and are left alone for `retry_after` seconds; nothing was sent."""

    code = "circuit_open"
    status = 503


class UpstreamTimeout(UpstreamError):
    """The upstream did not answer within the deadline; the outcome is unknown."""

    code = "upstream_timeout"
    status = 504


class UpstreamProtocol(UpstreamError):
    """The upstream answered with something that is not MCP (bad JSON, foreign id, too large, wrong type)."""

    code = "upstream_protocol"


class UpstreamUnauthorized(UpstreamError):
    """The upstream refused the gateway's credential (401 or 403)."""

    code = "upstream_unauthorized"


class SessionLost(UpstreamError):
    """The upstream no longer knows the legacy session of this leg (404); a new one must be initialized."""

    code = "upstream_session_lost"


class Overloaded(ToolwayError):
    """A bound of the gateway is reached (in flight, queue, streams, parked calls); try again later."""

    code = "overloaded"
    status = 503


class RateLimited(ToolwayError):
    """Somebody asks too often or for too much at once; `retry_after` says in how many seconds to go on (RFC 6585).

    `limits` are more HTTP headers that tell about the limit.
    """

    code = "rate_limited"
    status = 429

    def __init__(self, message: str, *, limits: dict[str, str] | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.limits = limits or {}

    @property
    def headers(self) -> dict[str, str]:
        """See `ToolwayError`."""
        return {**super().headers, **self.limits}


class ClientCannot(ToolwayError):
    """The client did not declare the capability that a server-to-client request needs, or has no open stream."""

    code = "client_cannot"
    status = 400


class CallLost(ToolwayError):
    """The node that held a parked call is gone; the outcome is unknown and the call is never run again."""

    code = "call_lost"
    status = 410
