"""Holds streams open: `python holder.py` reads which, opens them, prints how many are, closes when its input ends."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import msgspec
import uvloop
from machine import LOAD_CORE, pinned
from target import address

OPEN_SECONDS = 120.0
AT_ONCE = 100


class Plan(msgspec.Struct):
    """Each request opens one stream, on a connection of its own."""

    url: str
    requests: list[str]


class Stream(asyncio.Protocol):
    """Open once the head of a 200 is there."""

    def __init__(self, request: str) -> None:
        self._request = request
        self.transport: asyncio.Transport | None = None
        self.status: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._request.encode("latin-1"))

    def data_received(self, data: bytes) -> None:
        if not self.status.done():
            self.status.set_result(data[9:12])

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.status.done():
            self.status.set_result(b"gone")


@contextmanager
def held(url: str, requests: Sequence[bytes]) -> Iterator[int]:
    """The number of streams that are open while the block runs."""
    plan = msgspec.json.encode(Plan(url, [request.decode("latin-1") for request in requests]))
    command = pinned(LOAD_CORE, sys.executable, Path(__file__))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        stdin, stdout = process.stdin, process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the holder has no pipes")
        stdin.write(plan.decode() + "\n")
        stdin.flush()
        try:
            yield int(stdout.readline() or 0)
        finally:
            stdin.close()
            process.wait(OPEN_SECONDS)


async def hold(plan: Plan) -> None:
    """Open all, tell how many are good, wait, close."""
    streams: list[Stream] = []
    for start in range(0, len(plan.requests), AT_ONCE):
        some = [await _open(plan.url, request) for request in plan.requests[start : start + AT_ONCE]]
        await asyncio.wait([stream.status for stream in some], timeout=OPEN_SECONDS)
        streams += some
    good = sum(stream.status.done() and stream.status.result() == b"200" for stream in streams)
    print(good, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for stream in streams:
        if stream.transport is not None:
            stream.transport.abort()


async def _open(url: str, request: str) -> Stream:
    return (await asyncio.get_running_loop().create_connection(lambda: Stream(request), *address(url)))[1]


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(hold(msgspec.json.decode(sys.stdin.readline(), type=Plan)))
