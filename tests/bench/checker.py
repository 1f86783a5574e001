"""The slower load that checks every answer: its id, its text and that it is no error; `python checker.py '{…}'`.

Every call has an id and a text of its own, so an answer that belongs to another call is noticed. It runs as a process
of its own on the load's core, and prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import httptools
import msgspec
import uvloop
from machine import LOAD_CORE, pinned
from target import Target

ANSWER_SECONDS = 30.0


class Plan(msgspec.Struct):
    """What to do: until `calls` are answered or `seconds` are over, whichever is first; targets are used in turn."""

    targets: list[Target]
    concurrency: int
    calls: int = 1_000_000_000
    seconds: float = 3600.0


class Checked(msgspec.Struct):
    """What came of it: times in microseconds; `wrong` has the first answers that were not right."""

    count: int
    seconds: float
    p50: float
    p99: float
    slowest: float
    wrong: list[str]

    @property
    def rate(self) -> float:
        """Right answers per second."""
        return self.count / self.seconds


def check(targets: Sequence[Target], concurrency: int, *, calls: int = 1_000_000_000, seconds: float = 60.0) -> Checked:
    """Run the load on its core; raises RuntimeError when it could not run."""
    process = start(targets, concurrency, calls=calls, seconds=seconds)
    return finish(process, seconds + 2 * ANSWER_SECONDS)


def start(
    targets: Sequence[Target], concurrency: int, *, calls: int = 1_000_000_000, seconds: float = 60.0
) -> subprocess.Popen[str]:
    """The load as a process that runs beside the caller."""
    plan = msgspec.json.encode(Plan(list(targets), concurrency, calls, seconds)).decode()
    command = pinned(LOAD_CORE, sys.executable, Path(__file__), plan)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], seconds: float) -> Checked:
    """Wait for the end of a load; raises RuntimeError when it could not run."""
    out, complaints = process.communicate(timeout=seconds)
    if process.returncode:
        raise RuntimeError(f"the verifying load failed: {complaints[-1000:]}")
    return msgspec.json.decode(out, type=Checked)


class Wrong(Exception):
    """An answer that is not the one to the request."""


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("closed before the answer was complete"))

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), b"".join(self._parts)))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        self._parts, self._answer = [], asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        self._transport.write(request)
        async with asyncio.timeout(ANSWER_SECONDS):
            return await self._answer


class Run:
    """The connections of a plan, and what they saw."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._started = 0
        self._latencies: list[float] = []
        self._wrong: list[str] = []
        self._begin = time.perf_counter()

    async def run(self) -> Checked:
        await asyncio.gather(*(self._one(number) for number in range(self._plan.concurrency)))
        elapsed, seen = time.perf_counter() - self._begin, sorted(self._latencies) or [0.0]
        p99 = statistics.quantiles(seen, n=100)[98] if len(seen) > 1 else seen[0]
        return Checked(
            len(self._latencies), elapsed, statistics.median(seen) * 1e6, p99 * 1e6, seen[-1] * 1e6, self._wrong[:5]
        )

    async def _one(self, number: int) -> None:
        target = self._plan.targets[number % len(self._plan.targets)]
        connection = await _connect(target)
        while self._started < self._plan.calls and time.perf_counter() < self._begin + self._plan.seconds:
            self._started += 1
            request_id, begin = self._started, time.perf_counter()
            try:
                _require(await connection.ask(_request(target, request_id)), request_id)
            except (Wrong, OSError, TimeoutError) as error:
                self._wrong.append(f"{target.name}: {type(error).__name__} {error}")
                connection = await _connect(target)
            else:
                self._latencies.append(time.perf_counter() - begin)


async def _connect(target: Target) -> Connection:
    return (await asyncio.get_running_loop().create_connection(Connection, *target.address))[1]


def _request(target: Target, request_id: int) -> bytes:
    return target.call(f"this is call {request_id}", request_id)


def _require(answer: tuple[int, bytes], request_id: int) -> None:
    status, body = answer
    message = _last_message(body)
    content = message.get("result", {}).get("content") or [{}]
    if status != 200 or message.get("id") != request_id or content[0].get("text") != f"this is call {request_id}":
        raise Wrong(f"call {request_id} was answered {status} {body[:300]!r}")


def _last_message(body: bytes) -> Any:
    data = [line.removeprefix(b"data:") for line in body.splitlines() if line.startswith(b"data:")]
    try:
        return json.loads(data[-1] if data else body)
    except ValueError:
        return {}


if __name__ == "__main__":
    asked = msgspec.json.decode(sys.argv[1], type=Plan)
    print(msgspec.json.encode(uvloop.run(Run(asked).run())).decode())
