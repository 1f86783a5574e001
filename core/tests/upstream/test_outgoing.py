"""The guarded outgoing client and client credentials, against small real servers."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from toolway.edge.egress import EgressRefused
from toolway.errors import ConfigError, UpstreamError, UpstreamProtocol, UpstreamTimeout, UpstreamUnreachable
from toolway.plugin.http import ClientTls, OutgoingHttp, RedirectRefused, dial_error, tls_context

LOOPBACK = (ip_network("127.0.0.0/8"),)


class Site:
    """A server on loopback that remembers requests; paths name behaviours."""

    def __init__(self) -> None:
        self.seen: list[web.Request] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        await request.read()
        behaviours: dict[str, Callable[[], web.StreamResponse]] = {
            "/json": lambda: web.json_response({"big": 2**70}, headers={"Set-Cookie": "a=b"}),
            "/denied": lambda: web.json_response({"error": "no"}, status=403),
            "/redirect": lambda: web.Response(status=302, headers={"Location": "/json"}),
            "/text": lambda: web.Response(text="hello"),
            "/large": lambda: web.Response(body=b" " * 5000),
            "/gzip": lambda: web.Response(body=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"}),
        }
        if request.path == "/slow":
            await asyncio.sleep(30)
        if request.path == "/cut" and request.transport is not None:
            request.transport.close()
        return behaviours.get(request.path, lambda: web.Response(status=404))()


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    """A running site."""
    here = Site()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", here.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    here.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield here
    await runner.cleanup()


@pytest_asyncio.fixture
async def outgoing() -> AsyncIterator[OutgoingHttp]:
    """A client that may use loopback."""
    client = OutgoingHttp(LOOPBACK)
    yield client
    await client.close()


async def test_one_session_per_key_and_way_of_dialling(outgoing: OutgoingHttp) -> None:
    first = outgoing.session("a")
    assert outgoing.session("a") is first
    assert outgoing.session("b") is not first
    assert outgoing.session("a", allow_private=True) is not first


async def test_private_addresses_need_the_permission_of_the_upstream(site: Site) -> None:
    strict = OutgoingHttp()
    with pytest.raises(EgressRefused):
        await strict.session("a").get(f"{site.url}/json")
    async with strict.session("a", allow_private=True).get(f"{site.url}/json") as response:
        assert response.status == 200
    await strict.close()
    assert len(site.seen) == 1


async def test_a_redirect_is_never_followed(site: Site, outgoing: OutgoingHttp) -> None:
    with pytest.raises(RedirectRefused):
        await outgoing.session("a").get(f"{site.url}/redirect")
    async with outgoing.session("a").get(f"{site.url}/redirect", allow_redirects=False) as response:
        assert response.status == 302
    assert [request.path for request in site.seen] == ["/redirect", "/redirect"]


async def test_cookies_are_forgotten_and_compression_is_not_asked_for(site: Site, outgoing: OutgoingHttp) -> None:
    for _ in range(2):
        async with outgoing.session("a").get(f"{site.url}/json"):
            pass
    assert "cookie" not in site.seen[1].headers
    assert site.seen[1].headers["accept-encoding"] == "identity"


async def test_proxies_of_the_environment_are_not_used(
    site: Site, outgoing: OutgoingHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with outgoing.session("a").get(f"{site.url}/json") as response:
        assert response.status == 200


async def test_a_document_keeps_status_and_big_integers(site: Site, outgoing: OutgoingHttp) -> None:
    document = await outgoing.fetch_json("the site", "GET", f"{site.url}/json")
    assert (document.status, document.content) == (200, {"big": 2**70})
    assert (await outgoing.fetch_json("the site", "POST", f"{site.url}/denied", data={"a": "b"})).status == 403


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/redirect", RedirectRefused),
        ("/text", UpstreamProtocol),
        ("/large", UpstreamProtocol),
        ("/gzip", UpstreamProtocol),
        ("/slow", UpstreamTimeout),
        ("/cut", UpstreamError),
    ],
)
async def test_a_bad_document_is_a_typed_error(
    path: str, error: type[UpstreamError], site: Site, outgoing: OutgoingHttp
) -> None:
    with pytest.raises(error) as raised:
        await outgoing.fetch_json("the site", "GET", f"{site.url}{path}?secret=x", limit=4096, timeout=0.5)
    assert "secret" not in raised.value.message
    assert "127.0.0.1" not in raised.value.message


async def test_a_document_of_a_closed_port_is_unreachable(outgoing: OutgoingHttp, unused_tcp_port: int) -> None:
    with pytest.raises(UpstreamUnreachable) as raised:
        await outgoing.fetch_json("the site", "GET", f"http://127.0.0.1:{unused_tcp_port}/")
    assert raised.value.sent is False


async def test_a_document_is_not_fetched_from_a_private_address(site: Site) -> None:
    strict = OutgoingHttp()
    with pytest.raises(EgressRefused):
        await strict.fetch_json("the site", "GET", f"{site.url}/json")
    await strict.close()
    assert site.seen == []


def test_an_unknown_failure_may_have_been_sent() -> None:
    error = dial_error(aiohttp.ServerDisconnectedError(), "the site")
    assert (type(error), error.sent) == (UpstreamError, True)


def test_tls_options_make_one_context_and_bad_files_are_named(tmp_path: Path) -> None:
    assert tls_context(ClientTls()) is tls_context(ClientTls())
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        tls_context(ClientTls(ca=tmp_path / "ca.pem"))
    with pytest.raises(ConfigError, match=r"none\.pem"):
        tls_context(ClientTls(ca=tmp_path / "none.pem"))
