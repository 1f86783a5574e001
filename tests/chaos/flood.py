"""A load that does not get tired, in a process of its own: `python flood.py URL JSON` prints what came of it as JSON.

With a `rate`, calls of `nap` arrive so often, whatever becomes of those before them, each on a connection that is idle
or new. With `clients`, so many call again as soon as they are answered, whatever the answer says.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

import uvloop
from keepalive import request
from yarl import URL

SOURCES = 40
"""Addresses that the connections come from: there may be 256 from each."""
PATIENCE = 10.0
"""Seconds to wait for the last answers."""


@dataclass(frozen=True)
class Plan:
    """What to send, for how many seconds; what begins in the first `warm` ones does not count."""

    seconds: float
    nap: float = 0.0
    rate: float = 0.0
    clients: int = 0
    warm: float = 1.0


@dataclass
class Report:
    """What came of what was sent: answers by status, good ones and how long they took (median and p99, in seconds).

    `wrong` are answers of 200 without the result. `late` is how long after its time an arrival was sent (p99), `busy`
    which part of a core the load took itself.
    """

    statuses: dict[str, int] = field(default_factory=dict)
    broken: int = 0
    wrong: int = 0
    good: int = 0
    p50: float = 0.0
    p99: float = 0.0
    late: float = 0.0
    busy: float = 0.0


class Line(asyncio.Protocol):
    """One keep-alive connection."""

    transport: asyncio.Transport
    began = 0.0

    def __init__(self, flood: Flood) -> None:
        self._flood, self._heard = flood, b""

    def connection_made(self, transport: Any) -> None:
        """It can be used."""
        self.transport = transport

    def ask(self) -> None:
        """Send the request."""
        self.began = perf_counter()
        self.transport.write(self._flood.request)

    def data_received(self, data: bytes) -> None:
        """Some of the answer."""
        self._heard += data
        head, end, body = self._heard.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]):
            self._heard, began, self.began = b"", self.began, 0.0
            self._flood.answered(self, head[9:12].decode(), b'"awake"' in body, began)

    def connection_lost(self, exc: Exception | None) -> None:
        """It cannot be used any more."""
        self._flood.lost(self)


class Flood:
    """All connections of one run."""

    def __init__(self, url: URL, plan: Plan) -> None:
        self.request, self.report = request(url, plan.nap), Report()
        self._url, self._plan, self._opened, self._waiting = url, plan, 0, 0
        self._idle: deque[Line] = deque()
        self._lates, self._times = list[float](), list[float]()
        self._from = self._until = 0.0

    async def run(self) -> Report:
        """All of it."""
        await asyncio.gather(*[self._open() for _ in range(self._plan.clients or 50)])
        spent, began = time.process_time(), perf_counter()
        self._from, self._until = began + self._plan.warm, began + self._plan.seconds
        if self._plan.clients:
            for line in self._idle:
                self._ask(line)
            await asyncio.sleep(self._plan.seconds)
        else:
            await self._arrive(began)
        self.report.busy = (time.process_time() - spent) / (perf_counter() - began)
        self.report.late = _quantile(self._lates, 0.99)
        last = perf_counter() + PATIENCE
        while self._waiting and perf_counter() < last:
            await asyncio.sleep(0.01)
        self.report.broken += self._waiting
        self.report.good = len(self._times)
        self.report.p50, self.report.p99 = _quantile(self._times, 0.5), _quantile(self._times, 0.99)
        return self.report

    async def _arrive(self, began: float) -> None:
        count = 0
        while (passed := perf_counter() - began) < self._plan.seconds:
            while count < passed * self._plan.rate:
                due = began + count / self._plan.rate
                line = self._idle.pop() if self._idle else None
                if line is None:
                    asyncio.get_running_loop().create_task(self._open_and_ask())
                else:
                    self._ask(line)
                self._lates.append(perf_counter() - due)
                count += 1
            await asyncio.sleep(0.001)

    async def _open(self) -> Line:
        self._opened += 1
        source = (f"127.0.1.{self._opened % SOURCES + 1}", 0)
        loop, line = asyncio.get_running_loop(), Line(self)
        await loop.create_connection(lambda: line, str(self._url.host), int(self._url.port or 80), local_addr=source)
        self._idle.append(line)
        return line

    async def _open_and_ask(self) -> None:
        line = await self._open()
        self._idle.remove(line)
        self._ask(line)

    def _ask(self, line: Line) -> None:
        self._waiting += 1
        line.ask()

    def answered(self, line: Line, status: str, is_right: bool, began: float) -> None:
        """One request has its answer; 200 alone does not say that it is the right one."""
        self._waiting -= 1
        now = perf_counter()
        if began > self._from and now < self._until:
            self.report.statuses[status] = self.report.statuses.get(status, 0) + 1
            if status == "200" and is_right:
                self._times.append(now - began)
            elif status == "200":
                self.report.wrong += 1
        if not self._plan.clients:
            self._idle.append(line)
        elif now < self._until:
            self._ask(line)

    def lost(self, line: Line) -> None:
        """One connection is gone; with a request, if it had begun one."""
        if line.began:
            self._waiting -= 1
            self.report.broken += 1
        elif line in self._idle:
            self._idle.remove(line)


def _quantile(values: list[float], part: float) -> float:
    return sorted(values)[int(len(values) * part)] if values else 0.0


if __name__ == "__main__":
    print(json.dumps(asdict(uvloop.run(Flood(URL(sys.argv[1]), Plan(**json.loads(sys.argv[2]))).run()))))
