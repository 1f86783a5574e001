"""Clients that are slow or silent: they are cut at their deadlines, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from time import perf_counter

import pytest
from faults_page import IS_WHOLE, Figures
from flooding import flood
from node import node

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

RATE, EACH = 40.0, 40


async def test_slow_and_silent_clients(tmp_path: Path, figures: Figures) -> None:
    quick = "[gateway.limits]\nfirst_byte = 1\nhead = 1\nbody_gap = 1\nbody_total = 2\nstalled_write = 2"
    longest = 30.0 if IS_WHOLE else 2.0
    settings = f"drain_delay = 0\n{'' if IS_WHOLE else quick}"
    with node(tmp_path, settings, plugins='enable = ["uvicorn"]') as gateway:
        host, _, port = gateway.url.removeprefix("http://").rpartition(":")
        before = await flood(gateway.endpoint, seconds=longest if IS_WHOLE else 3, rate=RATE)
        slow = [asyncio.create_task(_slow_client(host, int(port), kind)) for kind in SLOW for _ in range(EACH)]
        meanwhile = await flood(gateway.endpoint, seconds=longest, rate=RATE)
        lasted = await asyncio.gather(*slow)

    by_kind = {kind: lasted[EACH * number : EACH * (number + 1)] for number, kind in enumerate(SLOW)}
    assert max(lasted) < longest + (5 if IS_WHOLE else 20)
    for each in (before, meanwhile):
        assert (set(each.statuses), each.broken, each.wrong) == ({"200"}, 0, 0)
    assert meanwhile.p99 <= 2 * before.p99 or not IS_WHOLE, "a short run has too few calls for that"
    cut = ", ".join(f"{kind} after {min(times):.0f} to {max(times):.0f} s" for kind, times in by_kind.items())
    figures.add(
        f"{len(slow)} slow or silent clients",
        clients="cut at their deadlines; others: nothing",
        figures=f"{cut}; p99 of the others {meanwhile.p99 * 1000:.0f} ms ({before.p99 * 1000:.0f} ms before)",
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
