"""An authorization server as far as it is used here, and which addresses of it are acceptable."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from toolway.plugin.http import EgressRefused, OutgoingHttp
from toolway_user_oauth.errors import ServerUnusable

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ODD = re.compile(r"[^A-Za-z0-9._~:/?\[\]@!&'*+,=%-]")
"""What no address of a server has, and what a shell or a page could take for something else (CVE-2025-6514)."""

Method = Literal["basic", "post", "none"]


class AuthorizationServer(msgspec.Struct, frozen=True):
    """`method` is how the client authenticates itself; `sends_iss` whether every answer names the issuer (RFC 9207)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    revocation_endpoint: str = ""
    method: Method = "basic"
    sends_iss: bool = False
    scopes: tuple[str, ...] = ()


def checked(http: OutgoingHttp, url: str, what: str, *, allow_private: bool) -> str:
    """The URL, if a browser or the gateway may be sent there; it is https, unless it is loopback or private on purpose.

    Raises:
        ServerUnusable: it is not acceptable; the message has `what` it is, never the URL.
    """
    if _ODD.search(url) or len(url) > 2048:
        raise ServerUnusable(f"the {what} is no plain URL; it is neither opened nor dialled")
    try:
        target = http.guard(allow_private=allow_private).check_url(url)
    except EgressRefused as refused:
        raise ServerUnusable(f"the {what} is refused: {refused.message}") from None
    if target.scheme != "https" and not allow_private and target.host not in LOOPBACK:
        raise ServerUnusable(f"the {what} is not https; codes and tokens would be sent in clear")
    return url


def all_checked(http: OutgoingHttp, server: AuthorizationServer, *, allow_private: bool) -> AuthorizationServer:
    """The server, if every address of it is acceptable; raises ServerUnusable."""
    for name in ("issuer", "authorization_endpoint", "token_endpoint", "revocation_endpoint"):
        url: str = getattr(server, name)
        if url or name != "revocation_endpoint":
            checked(http, url, name, allow_private=allow_private)
    return server
