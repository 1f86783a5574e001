"""What goes wrong here: nobody consented yet, a link is over, a server cannot be used or refuses."""

from __future__ import annotations

from toolway.plugin import ToolwayError, UpstreamError, UpstreamUnauthorized


class ConsentNeeded(UpstreamUnauthorized):
    """The upstream wants the caller's own account, and has no token of it or one with too few `scopes`."""

    code = "consent_needed"
    status = 403

    def __init__(self, message: str, scopes: tuple[str, ...] = ()) -> None:
        super().__init__(message, sent=False)
        self.scopes = scopes


class UpstreamForbids(UpstreamError):
    """The upstream knows the account and does not let it do this (403); another token would not change that."""

    code = "upstream_forbids"
    status = 403


class ServerUnusable(UpstreamError):
    """What an authorization server or an upstream says about authorization cannot be used."""

    code = "authorization_server_unusable"


class GrantRefused(UpstreamError):
    """The token endpoint gives no token; `reason` is its error code (RFC 6749 section 5.2)."""

    code = "grant_refused"

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message, sent=False)
        self.reason = reason


class LinkOver(ToolwayError):
    """A link to connect an account was used, is too old or was never given out."""

    code = "link_over"
    status = 410
