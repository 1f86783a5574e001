"""Whom to believe about the client's address and scheme: only the proxies that the operator named."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.types import Scope

from toolway.edge.framing import FORWARDED, Watched
from toolway.edge.settings import Network

Address = IPv4Address | IPv6Address


class Proxies:
    """Applies X-Forwarded-For and X-Forwarded-Proto of trusted peers to the scope and removes all such headers."""

    def __init__(self, networks: tuple[Network, ...]) -> None:
        self._networks = networks
        self.trusts = lru_cache(maxsize=1024)(self._trusts)

    def _trusts(self, host: str) -> bool:
        address = parse_address(host)
        return address is not None and any(address in network for network in self._networks)

    def apply(self, scope: Scope, seen: Watched) -> None:
        """Downstream sees only `scope["client"]` and `scope["scheme"]`, never a header that anyone may have set."""
        if FORWARDED.isdisjoint(seen):
            return
        peer = scope.get("client")
        if peer is not None and self._networks and self.trusts(peer[0]):
            scope["client"] = self._client(seen.get(b"x-forwarded-for", b""), peer)
            scheme = seen.get(b"x-forwarded-proto", b"").rpartition(b",")[2].strip().lower()
            if scheme in (b"http", b"https"):
                scope["scheme"] = scheme.decode()
        scope["headers"] = [item for item in scope["headers"] if item[0] not in FORWARDED]

    def _client(self, forwarded: bytes, peer: tuple[str, int]) -> tuple[str, int]:
        """The last hop that no trusted proxy vouches for; whatever stands left of it may be invented."""
        client = peer
        for hop in reversed(forwarded.decode("latin-1").split(",")):
            address = parse_address(_without_port(hop.strip()))
            if address is None:
                break
            client = (str(address), 0)
            if not self.trusts(client[0]):
                break
        return client


def parse_address(host: str) -> Address | None:
    """An IP address with IPv4-mapped IPv6 as plain IPv4, or None."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
