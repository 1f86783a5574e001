"""The egress guard: which URLs and addresses the gateway may dial (OWASP SSRF; RFC 6890, RFC 6052, RFC 4291)."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from time import monotonic
from typing import TYPE_CHECKING, Any

from aiohttp import ClientConnectorError, TCPConnector
from aiohttp.connector import AddrInfoType
from yarl import URL

from toolway.errors import UpstreamUnreachable

if TYPE_CHECKING:
    from aiohttp import ClientRequest, ClientTimeout
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

log = logging.getLogger(__name__)

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


def _networks(*networks: str) -> tuple[IPNetwork, ...]:
    return tuple(ip_network(each) for each in networks)


PRIVATE = _networks(
    "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7"
)
"""What `allow_private` of an upstream opens: loopback, site networks, CGNAT; not link-local."""

METADATA = _networks(
    "169.254.169.254/32", "168.63.129.16/32", "100.100.100.200/32", "fd00:ec2::/32", "fd20:ce::254/128"
)
"""The metadata services of clouds: only a configured network opens them."""

_PUBLIC_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC = _networks(
    *("0.0.0.0/8", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24"),
    *("203.0.113.0/24", "224.0.0.0/3", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
)
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = _networks("::/96", "::ffff:0:0:0/96")

TOLD_SECONDS = 600.0
MOST_TOLD = 1_000
"""How long, and for how many addresses, the log is not told of the same refusal again."""

_FORBIDDEN = re.compile(r"[^\x21-\x7e]|[\\#]")
_SHAPE = re.compile(r"(?P<scheme>[A-Za-z]+)://(?P<authority>[^/?]+)(?:[/?].*)?")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")


class EgressRefused(UpstreamUnreachable):
    """The gateway may not dial this URL or address; nothing was sent."""

    code = "egress_refused"
    status = 400


class Warned:
    """Of which refused addresses the log has been told lately: one that is tried all the time must not fill it."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._since: dict[IPAddress, float] = {}

    def tell(self, address: IPAddress) -> None:
        """Tell the log, unless it was told within `TOLD_SECONDS` and of less than `MOST_TOLD` others since."""
        now = self._now()
        if now < self._since.get(address, -TOLD_SECONDS) + TOLD_SECONDS:
            return
        self._since.pop(address, None)
        self._since[address] = now
        if len(self._since) > MOST_TOLD:
            del self._since[next(iter(self._since))]
        log.warning("egress guard: %s is neither public nor allowed, it is not dialled", address)


class EgressGuard:
    """Decides by address, when dialling: whatever a name resolves to then is what is checked."""

    def __init__(
        self, allow: Sequence[IPNetwork] = (), *, allow_private: bool = False, warned: Warned | None = None
    ) -> None:
        """`allow` names networks besides the public ones; `allow_private` adds `PRIVATE` without `METADATA`.

        Guards that share what they `warned` of tell the log together.
        """
        self._allow = tuple(allow)
        self._allow_private = allow_private
        self._warned = warned or Warned()

    def check_address(self, address: IPAddress) -> None:
        """Refuse an address that is neither public nor allowed; IPv6 forms of IPv4 are judged by what is inside.

        Raises:
            EgressRefused: it may not be dialled.
        """
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        inner = _translated(address)
        if inner is None:
            is_allowed = self._opens(address) or _is_public(address)
        else:  # a public address inside is not enough: a network has to open it, or the form itself
            is_allowed = self._opens(inner) or (_within(address, self._allow) and _is_public(inner))
        if not is_allowed:
            self._warned.tell(address)
            raise EgressRefused(
                "the address is not public (the log has it); to dial it on purpose, add its network to "
                "egress.allow_private or set allow_private of the upstream"
            )

    def check_url(self, url: str) -> URL:
        """As the function `check_url`; a literal address is checked too, names are when dialling.

        Raises:
            EgressRefused: the URL is not acceptable, or its address not allowed.
        """
        parsed = check_url(url)
        if (literal := _literal(parsed.host or "")) is not None:
            self.check_address(literal)
        return parsed

    def open_socket(self, info: AddrInfoType) -> socket.socket:
        """A socket for an entry of `getaddrinfo`; to be used wherever the gateway dials.

        Raises:
            RefusedAddress: an OSError, as connecting code expects it; carries the EgressRefused.
        """
        family, kind, protocol, _, address = info
        try:
            self.check_address(ip_address(str(address[0])))
        except EgressRefused as refused:
            raise RefusedAddress(refused) from refused
        return socket.socket(family, kind, protocol)

    def _opens(self, address: IPAddress) -> bool:
        if _within(address, self._allow):
            return True
        return self._allow_private and _within(address, PRIVATE) and not _within(address, METADATA)


class RefusedAddress(OSError):
    """An EgressRefused on its way through code that expects OSError."""

    def __init__(self, refused: EgressRefused) -> None:
        super().__init__("refused by the egress guard")  # equal texts: aiohttp then keeps one of them as it is
        self.refused = refused


class GuardedConnector(TCPConnector):
    """aiohttp's connector with every dialled address checked, literal or resolved."""

    def __init__(self, guard: EgressGuard, **options: Any) -> None:
        """`options` are those of TCPConnector."""
        super().__init__(socket_factory=guard.open_socket, **options)

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> Connection:
        """Connect as aiohttp does.

        Raises:
            EgressRefused: no address of the host may be dialled.
        """
        try:
            return await super().connect(req, traces, timeout)
        except ClientConnectorError as error:
            if isinstance(error.os_error, RefusedAddress):
                raise error.os_error.refused from None
            raise


def check_url(url: str) -> URL:
    """Parse the URL of something to dial; dial the result, so that no other parser reads it differently.

    Raises:
        EgressRefused: not http or https, userinfo, fragment, odd characters, no usable host or port.
    """
    if _FORBIDDEN.search(url):
        raise EgressRefused(
            "the URL has a space, control or non-ASCII character, a backslash or '#'; percent-encode it"
        )
    shape = _SHAPE.fullmatch(url)
    if shape is None or shape["scheme"].lower() not in ("http", "https"):
        raise EgressRefused("the URL is not of the form http://host[:port]/path or https://host[:port]/path")
    if "@" in shape["authority"]:
        raise EgressRefused("the URL carries a user name or password; configure auth instead")
    try:
        parsed = URL(url)
        host, port = parsed.raw_host or "", parsed.port
    except ValueError:
        raise EgressRefused("the host or port of the URL cannot be parsed") from None
    if not _HOST.fullmatch(host) or not port or _is_odd_ipv4(host):
        raise EgressRefused("the URL has no usable host or port; write numeric addresses as 192.0.2.1 or [2001:db8::1]")
    return parsed


def _literal(host: str) -> IPAddress | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_odd_ipv4(host: str) -> bool:
    """Whether resolvers take it for an address although it is not written as one: `0177.0.0.1`, `2130706433`."""
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return _literal(host) is None


def _translated(address: IPAddress) -> IPAddress | None:
    """The IPv4 address inside of NAT64, 6to4, Teredo, IPv4-compatible and SIIT addresses; None for all others."""
    if not isinstance(address, IPv6Address) or int(address) <= 1:
        return None
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or _within(address, _COMPATIBLE):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _is_public(address: IPAddress) -> bool:
    if isinstance(address, IPv6Address) and address not in _PUBLIC_V6:
        return False
    return address.is_global and not _within(address, _NOT_PUBLIC) and not _within(address, METADATA)


def _within(address: IPAddress, networks: Sequence[IPNetwork]) -> bool:
    return any(address in network for network in networks)
