"""The lean pool: what is stricter than aiohttp, how connections are shared, and that none is lost."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hostile_parts import BODY, CHUNKED, CLOSE, RESET, SIZED, Connect, Hostile, TestCertificate
from upstream_parts import until

from toolway.bundled.upstreams import http1, pool
from toolway.errors import UpstreamError, UpstreamProtocol, UpstreamTimeout, UpstreamUnreachable
from toolway.plugin.http import ClientTls, EgressGuard, EgressRefused
from toolway_testing.crowd import crowd

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
FRAMED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LOOPBACK = ip_network("127.0.0.0/8")


async def ask(lean: pool.Pool, body: bytes = b"{}", seconds: float = 5.0, **headers: str) -> bytes:
    """The body of the answer to a POST."""
    answer = await lean.request("POST", headers, body, seconds)
    try:
        return await answer.read(1 << 20)
    finally:
        answer.close()


def descriptors() -> int:
    """How many TCP sockets this process has open."""
    inodes = {line.split()[9] for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]}
    links = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(str(link.readlink()))
    return sum(link.removeprefix("socket:[").removesuffix("]") in inodes for link in links)


@pytest.mark.parametrize("surplus", [b"x", b"{}" * 50_000, SIZED, CHUNKED, b"HTTP/1.1 500 No\r\n\r\n", b"\0", b"\r\n"])
@pytest.mark.parametrize("answer", [SIZED, CHUNKED])
async def test_surplus_bytes_end_a_connection_not_its_answer(
    surplus: bytes, answer: bytes, server: Hostile, pool_to: Connect
) -> None:
    lean = pool_to(server.url)
    server.answers(answer, surplus)
    assert await ask(lean) == BODY
    await until(lambda: server.left == 1)
    server.answers(answer + surplus)
    assert await ask(lean) == BODY
    server.answers(SIZED.replace(b"true", b"null"))
    assert await ask(lean) == BODY.replace(b"true", b"null")


@pytest.mark.parametrize("said", [SIZED, b"", None])
async def test_bytes_or_an_end_before_the_request_went_out_are_no_answer_to_it(
    said: bytes | None, server: Hostile, pool_to: Connect
) -> None:
    lean = pool_to(server.url)
    assert await ask(lean) == BODY
    async with crowd():
        answer = lean.begin({}, b"{}", 5)
        if said:
            answer.connection.data_received(said)
        elif said is not None:
            answer.connection.eof_received()
        else:
            answer.connection.connection_lost(ConnectionResetError())

        with pytest.raises(UpstreamError, match="before it was asked") as raised:
            await answer.head
    assert not raised.value.sent
    assert await ask(lean) == BODY
    assert len(server.requests) == 2, "it was never sent"


async def test_bytes_before_any_request_end_a_connection(server: Hostile, pool_to: Connect) -> None:
    server.answers(SIZED.replace(b"11", b"10"))
    lean = pool_to(server.url)
    assert await ask(lean) == BODY[:10]
    assert await ask(lean) == BODY[:10]
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n" + SIZED,
        b"HTTP/1.1 099 What\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"SSH-2.0-OpenSSH\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        HEAD + b"Content-Length: 11\r\nContent-Length: 11\r\n\r\n" + BODY,
        HEAD + b"Content-Length : 11\r\n\r\n" + BODY,
        HEAD + b"X: a\r\n folded\r\nContent-Length: 11\r\n\r\n" + BODY,
        HEAD + b"X: a\rb\r\nContent-Length: 11\r\n\r\n" + BODY,
        HEAD + b"Content-Length: 11\r\nTransfer-Encoding: chunked\r\n\r\n" + BODY,
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 11\n\n" + BODY,
        FRAMED + b"2\nok\n0\n\n",
        FRAMED + b"0x2\r\nok\r\n0\r\n\r\n",
        FRAMED + b"2" + b";x" * 150_000,
        FRAMED + b"0\r\nX: " + b"a" * 300_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
    ],
)
async def test_what_is_not_strictly_framed_is_refused_without_waiting_for_more(
    answer: bytes, server: Hostile, pool_to: Connect
) -> None:
    server.answers(answer, asyncio.Event())
    with pytest.raises(UpstreamProtocol) as caught:
        await ask(pool_to(server.url))
    assert caught.value.sent
    await until(lambda: server.left == 1)


async def test_a_head_just_below_the_bound_is_taken(server: Hostile, pool_to: Connect) -> None:
    fields = b"".join(b"X-%d: %b\r\n" % (number, b"a" * 8000) for number in range(8))
    server.answers(SIZED.replace(b"Content-Type", fields + b"Content-Type"))
    assert len(fields) < http1.MAX_HEAD
    assert await ask(pool_to(server.url)) == BODY


async def test_a_body_without_length_that_is_reset_is_an_error(server: Hostile, pool_to: Connect) -> None:
    server.answers(HEAD + b"\r\n", BODY, RESET)
    with pytest.raises(UpstreamError):
        await ask(pool_to(server.url))


@pytest.mark.parametrize(
    "name", ["Content-Length", "transfer-encoding", "Host", "connection", "a b", "a\r\nb", "", "a:"]
)
async def test_nobody_but_the_connection_frames_a_request(name: str, server: Hostile, pool_to: Connect) -> None:
    with pytest.raises(UpstreamUnreachable):
        await ask(pool_to(server.url), b"{}", 5.0, **{name: "1"})
    assert not server.connections


async def test_an_answer_that_comes_before_the_request_ends_the_connection(server: Hostile, pool_to: Connect) -> None:
    lean = pool_to(server.url)
    assert await ask(lean, b"x" * 20_000_000, 5.0, **{"x-early": "1"}) == BODY
    assert await ask(lean) == BODY
    assert server.connections == 2


async def test_a_connection_is_used_again_the_latest_first(server: Hostile, pool_to: Connect) -> None:
    lean = pool_to(server.url)
    await asyncio.gather(*(ask(lean) for _ in range(4)))
    for _ in range(20):
        await ask(lean)
    assert server.connections <= 4
    assert len(lean._connections) == len(lean._idle) == server.connections


async def test_no_more_connections_than_allowed_and_the_others_wait_their_turn(
    server: Hostile, pool_to: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CONNECTIONS", 3)
    lean = pool_to(server.url)
    assert await asyncio.gather(*(ask(lean) for _ in range(50))) == [BODY] * 50
    server.answers(CLOSE)
    broken = await asyncio.gather(*(ask(lean) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(each, UpstreamError) and each.sent for each in broken)
    server.answers(SIZED)
    assert await asyncio.gather(*(ask(lean) for _ in range(50))) == [BODY] * 50
    assert server.connections - server.left <= 3


async def test_waiting_for_a_connection_ends_and_nothing_was_sent(
    server: Hostile, pool_to: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CONNECTIONS", 1)
    monkeypatch.setattr(pool, "WAITING", 2)
    lean, proceed = pool_to(server.url), asyncio.Event()
    server.answers(proceed, SIZED)
    first = asyncio.create_task(ask(lean))
    await until(lambda: bool(server.requests))
    waiting = [asyncio.create_task(ask(lean, seconds=0.1)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(UpstreamUnreachable, match="too many"):
        await ask(lean)
    for task in waiting:
        with pytest.raises(UpstreamUnreachable) as caught:
            await task
        assert not caught.value.sent
    proceed.set()
    assert await first == BODY
    assert await ask(lean) == BODY
    assert len(server.requests) == 2


async def test_who_stops_waiting_passes_the_turn_on(
    server: Hostile, pool_to: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CONNECTIONS", 1)
    lean, proceed = pool_to(server.url), asyncio.Event()
    server.answers(proceed, SIZED)
    tasks = [asyncio.create_task(ask(lean)) for _ in range(6)]
    await until(lambda: bool(server.requests))
    proceed.set()
    server.answers(SIZED)
    for task in tasks[1:5]:
        await until(lambda: len(server.requests) >= 1)
        task.cancel()
    assert await tasks[5] == BODY
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not lean._waiting


async def test_idle_connections_are_closed_after_a_while(
    server: Hostile, pool_to: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.05)
    lean = pool_to(server.url)
    await asyncio.gather(*(ask(lean) for _ in range(3)))
    await until(lambda: server.left == server.connections)
    assert not lean._connections
    assert await ask(lean) == BODY


async def test_each_request_has_its_own_time(server: Hostile, pool_to: Connect) -> None:
    server.answers(asyncio.Event())
    lean, loop = pool_to(server.url), asyncio.get_running_loop()

    async def late(seconds: float) -> float:
        start = loop.time()
        with pytest.raises(UpstreamTimeout):
            await ask(lean, seconds=seconds)
        return loop.time() - start

    asked = [0.3, 0.1, 0.2]
    took = await asyncio.gather(*(late(seconds) for seconds in asked))
    assert all(seconds - 0.01 <= real < seconds + 0.1 for seconds, real in zip(asked, took, strict=True))


@pytest.mark.parametrize("phase", ["handshake", "head", "body", "paused", "done"])
async def test_cancelling_in_any_phase_leaves_nothing_open(
    phase: str, pool_to: Connect, certificate: TestCertificate
) -> None:
    proceed, before = asyncio.Event(), descriptors()
    async with Hostile().serving(certificate.serving, "localhost") as server, silent() as mute:
        url = mute if phase == "handshake" else server.url
        lean = pool_to(url, tls=ClientTls(ca=certificate.file))
        steps: dict[str, list[Any]] = {
            "body": [FRAMED + b"1\r\nx\r\n", proceed],
            "paused": [FRAMED, *[b"10000\r\n" + b"x" * 65_536 + b"\r\n"] * 64],
            "done": [SIZED, proceed],
        }
        server.answers(*steps.get(phase, [proceed]))
        task = asyncio.create_task(_hold(lean) if phase in ("paused", "done") else ask(lean))
        if phase == "handshake":
            await until(lambda: lean._opening == 1)
            await asyncio.sleep(0.02)
        else:
            await until(lambda: bool(server.requests) and (phase == "head" or server.sent > 0))
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if phase not in ("handshake", "done"):
            await until(lambda: server.left == 1)
        assert len(lean._connections) == (phase == "done")
        await lean.close()
    await until(lambda: descriptors() <= before)


async def _hold(lean: pool.Pool) -> None:
    answer = await lean.request("POST", {}, b"{}", 5.0)
    try:
        await asyncio.Event().wait()
    finally:
        answer.close()


class silent:  # noqa: N801 - reads as a function
    """Accepts nothing and says nothing; gives an https URL."""

    async def __aenter__(self) -> str:
        self._socket = socket.create_server(("127.0.0.1", 0))
        return f"https://localhost:{self._socket.getsockname()[1]}/mcp"

    async def __aexit__(self, *_: object) -> None:
        self._socket.close()


async def test_a_handshake_that_does_not_end_means_not_sent(
    pool_to: Connect, certificate: TestCertificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CONNECT_SECONDS", 0.1)
    before = descriptors()
    async with silent() as url:
        with pytest.raises(UpstreamUnreachable) as caught:
            await asyncio.wait_for(ask(pool_to(url, tls=ClientTls(ca=certificate.file))), 5)
    assert not caught.value.sent
    await until(lambda: descriptors() <= before)


async def test_thousands_of_good_and_bad_exchanges_leave_nothing_open(server: Hostile, pool_to: Connect) -> None:
    lean, before = pool_to(server.url), descriptors()
    for steps in ([SIZED], [CLOSE], [SIZED, RESET], [SIZED + b"x"], [CHUNKED[:-9], CLOSE], [b"?"], [asyncio.Event()]):
        server.answers(*steps)
        await asyncio.gather(*(ask(lean, seconds=0.3) for _ in range(150)), return_exceptions=True)
    server.answers(SIZED)
    assert await ask(lean) == BODY
    await lean.close()
    await until(lambda: descriptors() <= before)
    assert not lean._connections
    assert not lean._idle


async def test_closing_ends_what_is_in_flight(server: Hostile, pool_to: Connect) -> None:
    server.answers(asyncio.Event())
    lean = pool_to(server.url)
    task = asyncio.create_task(ask(lean))
    await until(lambda: bool(server.requests))
    await lean.close()
    with pytest.raises(UpstreamError):
        await task
    with pytest.raises(UpstreamUnreachable):
        await ask(lean)
    await until(lambda: server.left == server.connections)


class Names:
    """Stands in for the resolver; remembers how often it was asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked = 0

    async def __call__(self, host: str, port: int, **_: object) -> list[Any]:
        is_name = host == "up.example"  # uvloop asks for addresses, too
        self.asked += is_name
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        addresses = self.addresses if is_name else [host]
        return [(family[":" in each], socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the loop resolve every name to these addresses."""

    def to(*addresses: str) -> Names:
        names = Names(*addresses)
        loop = asyncio.get_running_loop()
        target = loop if hasattr(loop, "__dict__") else type(loop)
        monkeypatch.setattr(target, "getaddrinfo", names)
        return names

    return to


async def test_a_name_is_resolved_once_a_minute(server: Hostile, pool_to: Connect, resolve: Any) -> None:
    names = resolve("127.0.0.1")
    lean = pool_to(server.url.replace("127.0.0.1", "up.example"))
    server.answers(SIZED, CLOSE)
    for number in range(3):
        assert await ask(lean) == BODY
        await until(lambda number=number: server.left == number + 1)  # type: ignore[misc]
    assert (names.asked, server.connections) == (1, 3)
    assert f"host: up.example:{server.url.split(':')[2].split('/')[0]}".encode() in server.requests[0].lower()
    lean._addresses_until = 0.0
    assert await ask(lean) == BODY
    assert names.asked == 2


async def test_a_name_is_resolved_again_after_a_failure(server: Hostile, pool_to: Connect, resolve: Any) -> None:
    lean = pool_to(server.url.replace("127.0.0.1", "up.example"))
    resolve("127.9.9.9")
    with pytest.raises(UpstreamUnreachable):
        await ask(lean)
    resolve("127.0.0.1")
    assert await ask(lean) == BODY


async def test_every_address_of_a_name_is_checked_and_the_good_one_dialled(
    server: Hostile, pool_to: Connect, resolve: Any
) -> None:
    url = server.url.replace("127.0.0.1", "up.example")
    resolve("169.254.169.254", "10.0.0.1", "::ffff:10.0.0.1", "127.0.0.1")
    assert await ask(pool_to(url, EgressGuard([LOOPBACK]))) == BODY
    resolve("169.254.169.254", "::ffff:169.254.169.254", "10.0.0.1", "127.0.0.1")
    with pytest.raises(EgressRefused) as caught:
        await ask(pool_to(url, EgressGuard()))
    assert not caught.value.sent
    assert server.connections == 1


async def test_a_dead_address_does_not_hide_the_next(server: Hostile, pool_to: Connect, resolve: Any) -> None:
    resolve("127.9.9.9", "127.0.0.1")
    lean = pool_to(server.url.replace("127.0.0.1", "up.example"))
    assert await asyncio.gather(*(ask(lean) for _ in range(5))) == [BODY] * 5


async def test_a_name_that_does_not_resolve_is_unreachable(pool_to: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UpstreamUnreachable) as caught:
        await ask(pool_to("http://no-such-name.invalid/mcp"))
    assert not caught.value.sent
