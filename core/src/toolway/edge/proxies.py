"""Whom to believe about the client's address and scheme: only the proxies that the operator named."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.types import Scope

from toolway.edge.head import Fields
from toolway.edge.names import host_of
from toolway.edge.settings import Network

FORWARDED = frozenset(
    {b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"x-real-ip"}
)


class Proxies:
    """Applies X-Forwarded-For and X-Forwarded-Proto of trusted peers to the scope and removes all such headers."""

    def __init__(self, networks: tuple[Network, ...]) -> None:
        self._networks = networks

    def trusts(self, host: str) -> bool:
        """Whether the address is in a network that the operator named."""
        address = parse_address(host)
        return address is not None and any(address in network for network in self._networks)

    def apply(self, scope: Scope, headers: Fields) -> None:
        """Downstream sees only `scope["client"]` and `scope["scheme"]`, never a header that anyone may have set."""
        if FORWARDED.isdisjoint(headers):
            return
        peer = scope.get("client")
        if peer is not None and self.trusts(peer[0]):
            scope["client"] = self._client(headers.get(b"x-forwarded-for", b"").decode("latin-1"), peer)
            scheme = headers.get(b"x-forwarded-proto", b"").rpartition(b",")[2].strip().lower()
            if scheme in (b"http", b"https"):
                scope["scheme"] = scheme.decode()
        scope["headers"] = [item for item in scope["headers"] if item[0] not in FORWARDED]

    def _client(self, forwarded: str, peer: tuple[str, int]) -> tuple[str, int]:
        """The last hop that no trusted proxy vouches for; whatever stands left of it may be invented."""
        client = peer
        for hop in map(str.strip, reversed(forwarded.split(","))):
            address = parse_address(hop) or parse_address(host_of(hop))
            if address is None:
                break
            client = (str(address), 0)
            if not self.trusts(client[0]):
                break
        return client


def parse_address(host: str) -> IPv4Address | IPv6Address | None:
    """An IP address with IPv4-mapped IPv6 as plain IPv4, or None."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
