"""The gateway itself has far too much to do, or has clients that do not go on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import statistics
import time
from pathlib import Path
from time import perf_counter

import aiohttp
import pytest
from faults_page import PAGE, Figures
from node import Clients, node

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

IS_WHOLE = PAGE in os.environ
"""As `tox run -e chaos` runs it; else only for as long as it takes to see that it works."""

SLOTS, SECONDS = 8, 0.1
CAPACITY = SLOTS / SECONDS
OVERLOAD = 10


async def test_ten_times_as_many_calls_as_can_be_done(tmp_path: Path, figures: Figures) -> None:
    lasting = 30.0 if IS_WHOLE else 4.0
    with node(tmp_path, "drain_delay = 0", upstream=f"in_flight = {SLOTS}", plugins='enable = ["uvicorn"]') as gateway:
        normal = Arrivals(gateway.endpoint)
        await normal.arrive(CAPACITY * 0.9, min(lasting, 8.0))
        far_too_many = Arrivals(gateway.endpoint)
        health = asyncio.create_task(_health(gateway.url))
        await far_too_many.arrive(CAPACITY * OVERLOAD, lasting)
        health.cancel()
        after = Arrivals(gateway.endpoint)
        await after.arrive(CAPACITY * 0.9, 2.0)

    p99 = normal.p99()
    goodput = len(far_too_many.good) / (lasting - 0.5)
    assert set(far_too_many.refused) <= {503}
    assert goodput >= 0.8 * CAPACITY
    assert far_too_many.p99() <= 2 * p99 or not IS_WHOLE, "a short run has too few calls for that"
    assert not normal.refused
    assert len(after.good) >= 0.7 * CAPACITY * (2.0 - 0.5)
    longest = max(_HEALTH) if _HEALTH else 0.0
    assert longest < 1
    figures.add(
        f"overload: {OVERLOAD} times the calls that an upstream can do",
        clients="503 with `Retry-After` for the surplus; who is served is served as fast as ever",
        figures=f"for {lasting:.0f} s: {goodput / CAPACITY:.0%} of the peak is done, p99 of it "
        f"{far_too_many.p99() * 1000:.0f} ms ({p99 * 1000:.0f} ms before), `/health` within {longest * 1000:.0f} ms",
        recovery="at once",
    )


_HEALTH: list[float] = []


async def _health(url: str) -> None:
    async with aiohttp.ClientSession() as http:
        while True:
            began = perf_counter()
            async with http.get(f"{url}/health") as answer:
                assert answer.status == 200
            _HEALTH.append(perf_counter() - began)
            await asyncio.sleep(0.05)


class Arrivals:
    """Calls that arrive at a rate, whatever becomes of those before them.

    Those of the first half second do not count, until it has noticed what is going on; nor does what is answered after
    the last one has arrived: those who waited get what nobody wants any more.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.good: list[float] = []
        self.refused: dict[int, int] = {}
        self._from = self._until = 0.0

    async def arrive(self, rate: float, seconds: float) -> None:
        """So many per second, for so long; returns when all are answered."""
        clients, now = Clients(self.url), perf_counter()
        self._from, self._until = now + 0.5, now + seconds
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as group:
            began, count = time.monotonic(), 0
            while (passed := time.monotonic() - began) < seconds:
                for _ in range(int(passed * rate) - count):
                    group.create_task(self._one(clients, http))
                    count += 1
                await asyncio.sleep(0.002)

    async def _one(self, clients: Clients, http: aiohttp.ClientSession) -> None:
        began = perf_counter()
        try:
            await clients.call(http, SECONDS)
        except AssertionError as error:
            status = error.args[0][0]
            self.refused[status] = self.refused.get(status, 0) + 1
        else:
            if began > self._from and (now := perf_counter()) < self._until:
                self.good.append(now - began)

    def p99(self) -> float:
        """Of those that were served, in seconds."""
        return statistics.quantiles(self.good, n=100)[98]


async def test_slow_and_silent_clients(tmp_path: Path, figures: Figures) -> None:
    quick = "[gateway.limits]\nfirst_byte = 1\nhead = 1\nbody_gap = 1\nbody_total = 2\nstalled_write = 2"
    limits = "" if IS_WHOLE else quick
    longest = 30.0 if IS_WHOLE else 2.0
    with node(tmp_path, f"drain_delay = 0\n{limits}", plugins='enable = ["uvicorn"]') as gateway:
        normal, meanwhile, after = (Arrivals(gateway.endpoint) for _ in range(3))
        await normal.arrive(40, 5 if IS_WHOLE else 2)
        host, port = gateway.url.removeprefix("http://").split(":")
        slow = [asyncio.create_task(_slow_client(host, int(port), kind)) for kind in SLOW for _ in range(40)]
        await meanwhile.arrive(40, longest - 1)
        lasted = await asyncio.gather(*slow)
        await after.arrive(40, 2)

    by_kind = {kind: lasted[40 * number : 40 * number + 40] for number, kind in enumerate(SLOW)}
    assert max(lasted) < longest + 5
    assert not normal.refused
    assert not meanwhile.refused
    assert not after.refused
    p99, p99_meanwhile = normal.p99(), meanwhile.p99()
    assert p99_meanwhile <= 2 * p99 or not IS_WHOLE
    cut = ", ".join(f"{kind} after {max(times):.0f} s" for kind, times in by_kind.items())
    figures.add(
        f"{len(slow)} slow or silent clients",
        clients="cut at their deadlines; others: nothing",
        figures=f"{cut}; p99 of the others {p99_meanwhile * 1000:.0f} ms ({p99 * 1000:.0f} ms before)",
        recovery="at once",
    )


SLOW = ("silent", "slow head", "slow body", "reads nothing")
"""What is wrong with a client."""


async def _slow_client(host: str, port: int, kind: str) -> float:
    """For how many seconds the gateway put up with it."""
    began = perf_counter()
    reader, writer = await asyncio.open_connection(host, port, limit=1024)
    head = f"POST /mcp HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n"
    head += "accept: application/json, text/event-stream\r\n"
    ask = f"GET /api/v1/openapi.json HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n".encode()
    try:
        if kind == "slow head":
            writer.write(head.encode())
        elif kind == "slow body":
            writer.write(f"{head}content-length: 100000\r\n\r\n".encode())
        elif kind == "reads nothing":
            _socket(writer).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            for _ in range(100):
                writer.write(ask)
        while not (reader.at_eof() or _is_cut(writer)):
            if kind != "silent":
                writer.write(b"x" if kind.startswith("slow") else b"\r\n")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await (asyncio.sleep(1) if kind == "reads nothing" else reader.read(100))
    except OSError:
        pass
    finally:
        writer.transport.abort()
    return perf_counter() - began


def _socket(writer: asyncio.StreamWriter) -> socket.socket:
    found: socket.socket = writer.get_extra_info("socket")
    return found


def _is_cut(writer: asyncio.StreamWriter) -> bool:
    """Whether the connection was reset or closed, without reading from it: the state of TCP_INFO (tcp(7))."""
    established = 1
    return _socket(writer).getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != established
