"""The egress guard: what is refused before anything is dialled, and what an operator may open."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from ipaddress import ip_address, ip_network

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from hypothesis import given, strategies as st

from toolway.edge.egress import (
    MOST_TOLD,
    EgressGuard,
    EgressRefused,
    GuardedConnector,
    RefusedAddress,
    Warned,
    check_url,
)
from toolway.edge.outgoing import OutgoingHttp
from toolway.errors import UpstreamUnreachable

LOOPBACK = ip_network("127.0.0.0/8")

PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8"]

PRIVATE = [
    *("127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"),
    *("100.127.255.255", "::1", "fc00::1", "fd12:3456::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
]

NEVER_BY_ALLOW_PRIVATE = [
    *("169.254.169.254", "169.254.0.1", "168.63.129.16", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254"),
    *("::ffff:169.254.169.254", "0.0.0.0", "0.1.2.3", "::", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1"),
    *("198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1", "100::1", "5f00::1", "2001:20::1"),
    *("64:ff9b:1::a00:1", "64:ff9b::808:808", "2002:808:808::1", "::8.8.8.8", "::ffff:0:808:808"),
    *("64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::169.254.169.254"),
]

TRANSLATED_LOOPBACK = [
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "::127.0.0.1",
    "::ffff:0:7f00:1",
]


def refuses(guard: EgressGuard, address: str) -> bool:
    try:
        guard.check_address(ip_address(address))
    except EgressRefused:
        return True
    return False


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_dialled(address: str) -> None:
    assert not refuses(EgressGuard(), address)


@pytest.mark.parametrize("address", PRIVATE + NEVER_BY_ALLOW_PRIVATE + TRANSLATED_LOOPBACK)
def test_everything_that_is_not_public_is_refused(address: str) -> None:
    assert refuses(EgressGuard(), address)


@pytest.mark.parametrize("address", PRIVATE + TRANSLATED_LOOPBACK)
def test_allow_private_opens_loopback_and_sites(address: str) -> None:
    assert not refuses(EgressGuard(allow_private=True), address)


@pytest.mark.parametrize("address", NEVER_BY_ALLOW_PRIVATE)
def test_allow_private_opens_neither_metadata_nor_reserved_addresses(address: str) -> None:
    assert refuses(EgressGuard(allow_private=True), address)


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", *TRANSLATED_LOOPBACK])
def test_a_configured_network_opens_its_addresses_in_every_form(address: str) -> None:
    guard = EgressGuard([LOOPBACK])
    assert not refuses(guard, address)
    assert refuses(guard, "10.0.0.1")
    assert refuses(guard, "64:ff9b::a00:1")


def test_a_configured_metadata_address_is_opened() -> None:
    assert not refuses(EgressGuard([ip_network("169.254.169.254/32")]), "169.254.169.254")


def test_a_configured_translation_prefix_opens_public_addresses_only() -> None:
    guard = EgressGuard([ip_network("64:ff9b::/96")])
    assert not refuses(guard, "64:ff9b::808:808")
    assert refuses(guard, "64:ff9b::a9fe:a9fe")


@given(st.ip_addresses(v=4))
def test_no_ipv6_form_of_a_refused_ipv4_address_is_let_through(address: object) -> None:
    guard, number = EgressGuard(), int(address)  # type: ignore[call-overload]
    if refuses(guard, str(address)):
        high, low = number >> 16, number & 0xFFFF
        forms = [f"::ffff:{high:x}:{low:x}", f"64:ff9b::{high:x}:{low:x}", f"2002:{high:x}:{low:x}::1"]
        assert all(refuses(guard, form) for form in [*forms, f"::{high:x}:{low:x}", f"::ffff:0:{high:x}:{low:x}"])


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "example.com", "//example.com/x", ""),
        *(
            "http://user@example.com/",
            "http://user:pw@example.com/",
            "http://@example.com/",
            "http://a%40b@example.com",
        ),
        *("http://example.com\\@evil.example/", "http://evil.example#@example.com/", "http://exa mple.com/"),
        *("http://example.com/\r\nX: y", "http://example.com/\0", "\thttp://example.com/", "http://exämple.com/"),
        *(
            "http://127。0。0。1/",
            "http:///path",
            "http:example.com",
            "http://example.com:0/",
            "http://example.com:65536/",
        ),
        *(
            "http://example.com:-1/",
            "http://example.com:8a/",
            "http://[fe80::1%25eth0]/",
            "http://[::1/",
            "http://a%41.b/",
        ),
    ],
)
def test_a_url_that_parsers_read_differently_is_refused(url: str) -> None:
    with pytest.raises(EgressRefused):
        check_url(url)


@pytest.mark.parametrize("url", ["https://example.com/mcp?a=b", "http://a_b:8080", "https://[2606:4700::1111]:8443/"])
def test_an_ordinary_url_is_accepted(url: str) -> None:
    assert EgressGuard().check_url(url).scheme in ("http", "https")


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "0177.0.0.1", "0x7f.1", "2130706433", "127.1", "0x7f000001", "017700000001", "0"),
        *("[::1]", "[::ffff:127.0.0.1]", "[::]", "169.254.169.254", "2852039166"),
    ],
)
def test_a_literal_address_is_refused_at_once_in_every_spelling(host: str) -> None:
    with pytest.raises(EgressRefused):
        EgressGuard().check_url(f"http://{host}/")


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    """A server on loopback; `hits` counts what reached it."""
    runner = web.AppRunner(_counting())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


def _counting() -> web.Application:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="reached")

    app = web.Application()
    app.router.add_get("/", answer)
    return app


async def get(guard: EgressGuard, url: str) -> str:
    async with aiohttp.ClientSession(connector=GuardedConnector(guard)) as session, session.get(url) as response:
        return await response.text()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]"])
async def test_the_address_that_is_dialled_is_the_one_checked(host: str, port: int) -> None:
    with pytest.raises(EgressRefused):
        await get(EgressGuard(), f"http://{host}:{port}/")


@pytest.mark.parametrize("spelling", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1"])
def test_what_the_resolver_makes_of_odd_spellings_is_checked(spelling: str) -> None:
    for info in socket.getaddrinfo(spelling, 80, type=socket.SOCK_STREAM):
        with pytest.raises(RefusedAddress):
            EgressGuard().open_socket(info)


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "10.255.255.1", "[fd00:ec2::254]", "[64:ff9b::a9fe:a9fe]", "0.0.0.0"]
)
async def test_nothing_is_dialled_when_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_socket(*_: object) -> socket.socket:
        raise AssertionError("a socket was opened")

    with monkeypatch.context() as patched:
        patched.setattr("toolway.edge.egress.socket.socket", no_socket)
        with pytest.raises(EgressRefused):
            await get(EgressGuard([LOOPBACK]), f"http://{host}/")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_an_allowed_loopback_server_is_reached(host: str, port: int) -> None:
    assert await get(EgressGuard([LOOPBACK]), f"http://{host}:{port}/") == "reached"
    assert await get(EgressGuard(allow_private=True), f"http://{host}:{port}/") == "reached"


async def test_a_name_with_several_refused_addresses_is_refused_with_the_same_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def both(*_: object, **__: object) -> list[object]:
        answers = [(socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "10.0.0.1")]
        return [(family, socket.SOCK_STREAM, 6, "", (host, 80)) for family, host in answers]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
    with pytest.raises(EgressRefused):
        await get(EgressGuard(), "http://rebound.example/")


def test_a_refusal_says_that_nothing_was_sent_and_tells_the_address_to_the_log_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(UpstreamUnreachable) as refused:
        EgressGuard().check_address(ip_address("10.0.0.1"))
    assert (refused.value.sent, refused.value.code) == (False, "egress_refused")
    assert "10.0.0.1" not in refused.value.message
    assert "10.0.0.1" in caplog.text


def test_the_log_is_told_once_in_ten_minutes_of_an_address_that_is_tried_all_the_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    times = iter((0.0, 1.0, 599.0, 600.0, 1_199.0, 1_199.0))
    guard = EgressGuard(warned=Warned(lambda: next(times)))

    for _ in range(5):
        assert refuses(guard, "10.0.0.1")
    assert refuses(guard, "10.0.0.2")

    assert [record.args for record in caplog.records] == [
        (ip_address("10.0.0.1"),),
        (ip_address("10.0.0.1"),),
        (ip_address("10.0.0.2"),),
    ]


def test_the_guards_of_a_gateway_tell_the_log_together(caplog: pytest.LogCaptureFixture) -> None:
    outgoing = OutgoingHttp()

    assert refuses(outgoing.guard(), "10.0.0.1")
    assert refuses(outgoing.guard(), "10.0.0.1")

    assert len(caplog.records) == 1


def test_of_many_addresses_the_last_ones_are_remembered(caplog: pytest.LogCaptureFixture) -> None:
    guard, first = EgressGuard(), ip_address("10.0.0.0")
    for number in range(MOST_TOLD + 1):
        assert refuses(guard, str(first + number))
    caplog.clear()

    assert refuses(guard, str(first + MOST_TOLD))
    assert refuses(guard, str(first))

    assert [record.args for record in caplog.records] == [(first,)]
