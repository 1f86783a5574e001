"""An upstream behind an HTTP proxy: requests go there, and the guard still has its say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest
import pytest_asyncio
from hostile_parts import Hostile
from upstream_parts import Literals, call, http_upstream, leg

from toolway.bundled.upstreams.http import HttpKind
from toolway.errors import InvalidInput, UpstreamError
from toolway.plugin.http import EgressRefused, OutgoingHttp

REPLY = b'{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete"}}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(REPLY), REPLY)


@pytest_asyncio.fixture
async def kind() -> AsyncIterator[HttpKind]:
    """May dial loopback, where the proxy is, and no other private network."""
    outgoing = OutgoingHttp([ip_network("127.0.0.0/8")])
    yield HttpKind(outgoing, Literals())
    await outgoing.close()


async def ask(kind: HttpKind, url: str, proxy: str) -> object:
    upstream = http_upstream(kind, url, proxy=proxy, allow_private=False)
    return await kind.connect(upstream, upstream.endpoints[0], leg("modern")).request(call("x"))


async def test_requests_go_through_the_proxy_which_resolves_the_name(server: Hostile, kind: HttpKind) -> None:
    server.answers(ANSWER)
    await ask(kind, "http://up.example/mcp", server.url)
    assert server.requests[0].startswith(b"POST http://up.example/mcp HTTP/1.1\r\n")


async def test_https_is_tunnelled(server: Hostile, kind: HttpKind) -> None:
    server.answers(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(UpstreamError):
        await ask(kind, "https://up.example/mcp", server.url)
    assert server.requests[0].startswith(b"CONNECT up.example:443 HTTP/1.1\r\n")


async def test_a_private_address_is_not_asked_for_through_a_proxy(server: Hostile, kind: HttpKind) -> None:
    with pytest.raises(EgressRefused):
        await ask(kind, "http://10.0.0.1/mcp", server.url)
    assert not server.requests


async def test_the_address_of_the_proxy_is_guarded(server: Hostile) -> None:
    outgoing = OutgoingHttp()
    with pytest.raises(EgressRefused):
        await ask(HttpKind(outgoing, Literals()), "http://up.example/mcp", server.url)
    await outgoing.close()
    assert not server.connections


def test_the_proxy_must_be_a_url(kind: HttpKind) -> None:
    with pytest.raises(InvalidInput, match="proxy"):
        http_upstream(kind, "http://up.example/mcp", proxy="up.example:3128")
