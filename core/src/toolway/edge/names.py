"""Which Host and Origin may talk to the gateway (DNS rebinding), and the CORS answers for the origins that may."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from toolway.edge.settings import EdgeSettings
from toolway.hookspecs.serving import HeaderList

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_ANYWHERE = {"", "0.0.0.0", "::"}  # noqa: S104  compared with, not bound to
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{0,5})?")

EXPOSED: Final = (
    *(b"Mcp-Session-Id", b"MCP-Protocol-Version", b"WWW-Authenticate", b"ETag", b"Location"),
    *(b"Retry-After", b"RateLimit", b"RateLimit-Policy"),
)
"""Headers of answers that a page of an allowed origin may read."""

CORS: Final[HeaderList] = [(b"access-control-expose-headers", b", ".join(EXPOSED)), (b"vary", b"Origin")]
"""For every answer to an allowed origin, besides its name (Fetch standard, 3.2.3); credentials are bearer tokens."""

PREFLIGHT: Final[HeaderList] = [
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE, OPTIONS"),
    (b"access-control-allow-headers", b"Authorization, *"),
    (b"access-control-max-age", b"600"),
]
"""What an allowed origin may send ; the asterisk leaves only Authorization out."""


class Names:
    """The names that a gateway bound to `bind` and published as `public_url` answers to."""

    def __init__(self, settings: EdgeSettings, bind: str, public_url: str) -> None:
        public = urlsplit(public_url)
        bound = host_of(bind)
        self.are_loopback = is_loopback(bound)
        self._hosts = (_LOOPBACK | {bound, public.hostname or "", *settings.allowed_hosts}) - _ANYWHERE
        self._suffixes = tuple(host[1:] for host in settings.allowed_hosts if host.startswith("*"))
        self._origins = {*settings.allowed_origins, f"{public.scheme}://{public.netloc}".lower()} - {"://"}

    def allows_host(self, host: bytes, local_address: str | None) -> bool:
        """An address that equals the one connected to is always fine: rebinding needs a name."""
        name = host_of(host.decode("latin-1"))
        return name != "" and (name in self._hosts or name == local_address or name.endswith(self._suffixes))

    def allows_origin(self, origin: bytes, scheme: str, host: bytes) -> bool:
        """`host` has passed `allows_host`, so the page that it served itself may call it."""
        value = origin.decode("latin-1").lower()
        if value in self._origins or "*" in self._origins or origin == b"%s://%s" % (scheme.encode(), host):
            return True
        scheme, _, rest = value.partition("://")
        return self.are_loopback and scheme in ("http", "https") and is_loopback(host_of(rest))


def host_of(authority: str) -> str:
    """The lower-case name or address in a Host header or authority, empty if it is malformed (RFC 9110 section 7.2)."""
    match = _HOST.fullmatch(authority)
    return (match[1] or match[2]).lower().rstrip(".") if match else ""


def is_loopback(name: str) -> bool:
    """Whether a host name or address can only mean this machine (RFC 6761 section 6.3)."""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
