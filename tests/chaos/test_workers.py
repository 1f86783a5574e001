"""One of two workers is killed under load: it is replaced at once, and nobody else notices."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import pytest
from faults_page import IS_WHOLE, Figures
from keepalive import Lost, Wire, children, clients_of
from node import Node, node
from yarl import URL

from toolway_testing.polling import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

KILLS = 5 if IS_WHOLE else 2
CLIENTS = 24
SECONDS = 0.05


async def test_a_killed_worker_takes_only_its_own_requests_along(tmp_path: Path, figures: Figures) -> None:
    crowds = list[Crowd]()
    with node(tmp_path, "workers = 2\ndrain_delay = 0", plugins='enable = ["uvicorn"]') as gateway:
        for _ in range(KILLS):
            crowd = Crowd(gateway)
            await crowd.while_one_is_killed()
            crowds.append(crowd)
        gateway.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(gateway.process.wait, 20) == 0

    for crowd in crowds:
        assert set(crowd.lost) <= crowd.victims, "a request of somebody else was lost"
        assert all(count == 1 for count in crowd.lost.values()), "one was lost twice"
    lost, total = sum(len(each.lost) for each in crowds), sum(each.answered for each in crowds)
    figures.add(
        f"kill -9 of one of two workers under load, {KILLS} times",
        clients="its requests in flight: the connection is cut; others: nothing; new connections: answered",
        figures=f"{lost} of {total} requests lost ({CLIENTS} at a time), all of them on connections of the killed one",
        recovery=f"its replacement has a client after {max(each.back for each in crowds):.1f} s at most",
    )


@dataclass
class Crowd:
    """Clients that repeat calls on keep-alive connections: how often each one, by its local port, lost a request."""

    gateway: Node
    answered: int = 0
    back: float = 0.0
    lost: dict[int, int] = field(default_factory=dict)
    victims: set[int] = field(default_factory=set)

    async def while_one_is_killed(self) -> None:
        """All of it: until the clients have connections to a replacement, and are answered on them."""
        url = URL(self.gateway.endpoint)
        assert url.port is not None
        wires, stop = [Wire(url) for _ in range(CLIENTS)], asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for wire in wires:
                group.create_task(self._repeat(wire, stop))
            await eventually(lambda: self.answered > 4 * CLIENTS)
            victim = await eventually(lambda: self._oldest(url.port or 0))
            os.kill(victim, signal.SIGSTOP)  # so that nobody connects to it between the look and the end
            self.victims, others = clients_of(victim, url.port), set(children(self.gateway.process.pid)) - {victim}
            os.kill(victim, signal.SIGKILL)
            killed = perf_counter()
            await eventually(lambda: self._replacement_is_used(others, victim, url.port or 0), timeout=20)
            self.back = perf_counter() - killed
            seen = self.answered
            await eventually(lambda: self.answered > seen + 4 * CLIENTS)
            stop.set()
        for wire in wires:
            await wire.close()

    async def _repeat(self, wire: Wire, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await wire.call(SECONDS)
            except Lost:
                self.lost[wire.port] = self.lost.get(wire.port, 0) + 1
            else:
                self.answered += 1

    def _oldest(self, port: int) -> int | None:
        """The worker that runs for longest, once there are two of them with clients."""
        workers = children(self.gateway.process.pid)
        return workers[0] if len(workers) == 2 and all(clients_of(pid, port) for pid in workers) else None

    def _replacement_is_used(self, others: set[int], victim: int, port: int) -> bool:
        fresh = set(children(self.gateway.process.pid)) - others - {victim}
        return any(clients_of(pid, port) for pid in fresh)
