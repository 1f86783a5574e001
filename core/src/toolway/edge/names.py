"""Which Host and Origin may talk to the gateway (DNS rebinding), and the CORS answers for the origins that may."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from toolway.edge.problem import HeaderList
from toolway.edge.settings import EdgeSettings

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104  compared with, not bound to
_HOST = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{0,5})?")
_EXPOSED = b"Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, Retry-After, ETag, Location"
_METHODS = b"GET, POST, PUT, PATCH, DELETE, OPTIONS"
_REQUEST_HEADERS = frozenset(
    {"authorization", "content-type", "accept", "last-event-id", "mcp-protocol-version", "if-match", "if-none-match"}
)


class Names:
    """The names that a gateway bound to `bind` and published as `public_url` answers to."""

    def __init__(self, settings: EdgeSettings, bind: str, public_url: str) -> None:
        public = urlsplit(public_url)
        bound = host_of(bind.encode()) or ""
        self._hosts = LOOPBACK_NAMES | {bound, (public.hostname or "").rstrip(".")} | set(settings.allowed_hosts)
        self._hosts -= {"", *WILDCARDS}
        self._suffixes = tuple(host[1:] for host in settings.allowed_hosts if host.startswith("*."))
        self._origins = set(settings.allowed_origins)
        if public.hostname:
            self._origins.add(f"{public.scheme}://{public.netloc}".lower())
        self._loopback = is_loopback(bound)
        self.allows_host = lru_cache(maxsize=1024)(self._allows_host)
        self._allows_origin = lru_cache(maxsize=1024)(self._judge_origin)

    def _allows_host(self, host: bytes, local_address: str | None) -> bool:
        """An address that equals the one connected to is always fine: rebinding needs a name."""
        name = host_of(host)
        if name is None:
            return False
        return name in self._hosts or "*" in self._hosts or name == local_address or name.endswith(self._suffixes)

    def allows_origin(self, origin: bytes, scheme: str, host: bytes) -> bool:
        """`host` has passed `allows_host`, so the page that it served itself may call it."""
        return origin == b"%s://%s" % (scheme.encode(), host) or self._allows_origin(origin)

    def _judge_origin(self, origin: bytes) -> bool:
        value = origin.decode("latin-1").lower()
        if value in self._origins or "*" in self._origins:
            return True
        scheme, _, rest = value.partition("://")
        return self._loopback and scheme in ("http", "https") and is_loopback(host_of(rest.encode("latin-1")) or "")


def host_of(host: bytes) -> str | None:
    """The lower-case name or address in a Host header or authority, None if it is malformed (RFC 9110 section 7.2)."""
    match = _HOST.fullmatch(host)
    if match is None:
        return None
    return (match[1] or match[2]).decode("ascii").lower().rstrip(".")


def is_loopback(name: str) -> bool:
    """Whether a host name or address can only mean this machine (RFC 6761 section 6.3)."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def cors_headers(origin: bytes) -> HeaderList:
    """For every answer to an allowed origin (Fetch standard, section 3.2.3); credentials are bearer tokens."""
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"Origin"),
    ]


def preflight_headers(requested: bytes) -> HeaderList:
    """What an allowed origin may send; `requested` is Access-Control-Request-Headers."""
    names = (name.strip().lower() for name in requested.decode("latin-1").split(","))
    granted = [name for name in names if name in _REQUEST_HEADERS or _is_mcp_header(name)]
    return [
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", ", ".join(granted).encode("latin-1")),
        (b"access-control-max-age", b"600"),
    ]


def _is_mcp_header(name: str) -> bool:
    return name.startswith("mcp-") and name.replace("-", "").isalnum() and name.isascii()
