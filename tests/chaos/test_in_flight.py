"""One of two replicas is killed again and again: only calls fail that it had received, or that were sent to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import perf_counter

import pytest
from breakers import seconds_until_it_is_well
from callers import Callers, Outcome, callers
from faults_page import IS_WHOLE, Figures
from napping import PILLOW
from node import NAPPING
from stage import Replica, replicas, stage

from toolway_testing.polling import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

KILLS = 4 if IS_WHOLE else 2
CLIENTS = 8
READ = ("resources/read", {"uri": PILLOW["uri"]})
LIST: tuple[str, dict[str, str]] = ("tools/list", {})


async def test_only_what_was_in_flight_on_the_killed_replica_fails(tmp_path: Path, figures: Figures) -> None:
    short = "ejection_time = 1"  # the default is 30 s
    with replicas(tmp_path, 2, NAPPING) as pair, stage(tmp_path, pair, tool="nap", breaker=short) as scene:
        async with callers(scene.endpoint) as clients:
            numbered, backs = Numbered(clients), list[float]()
            async with clients.busy(READ, LIST, each=4), numbered.busy():
                await eventually(lambda: all(map(numbered.received, pair)))
                for killed in range(KILLS):
                    victim, other = pair[killed % 2], pair[1 - killed % 2]
                    victim.kill()
                    gone = perf_counter()
                    seen = len(clients.seen)
                    await eventually(lambda seen=seen: len(clients.seen) > seen + 200)  # type: ignore[misc]
                    numbered.judge(other, gone)
                    await asyncio.to_thread(victim.start)
                    returned = perf_counter()
                    await seconds_until_it_is_well(scene, victim, clients, "nap")
                    await eventually(lambda: all(map(numbered.received, pair)))  # each is in use again
                    backs.append(perf_counter() - returned)

    assert clients.failed("resources/read") == clients.failed("tools/list") == 0
    reads, lists = clients.total("resources/read"), clients.total("tools/list")
    figures.add(
        f"one of two replicas is killed under load, {KILLS} times",
        clients="calls of tools in flight on it: an error; reads: nothing, they are tried elsewhere; "
        "lists: nothing, the catalog answers them",
        figures=f"0 of {reads} reads failed, 0 of {lists} lists, {len(numbered.failed)} of {len(numbered.outcomes)} "
        f"calls ({CLIENTS} at a time), all of them in flight on the killed one",
        recovery=f"in use {max(backs):.1f} s after its return at most (ejections are for 1 s in the test)",
    )


@dataclass
class Numbered:
    """Clients whose calls have numbers, which replicas write down."""

    clients: Callers
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)
    _numbers: count[int] = field(default_factory=count)

    @contextlib.asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """While the context lasts, they call."""
        stop = asyncio.Event()

        async def repeat() -> None:
            while not stop.is_set():
                number = next(self._numbers)
                self.outcomes[number] = await self.clients.call("nap", seconds=0.02, number=number)

        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(repeat())
            try:
                yield
            finally:
                stop.set()

    def received(self, replica: Replica) -> set[int]:
        """What it has received since it was started."""
        lines = [line.split() for line in replica.log.read_text().splitlines()]
        return {int(line[1]) for line in lines if len(line) == 2 and line[0] == "received"}

    def judge(self, other: Replica, gone: float) -> None:
        """Every failure since the last time is of a call that was on its way by then, and that `other` never had."""
        failed = {number for number, each in self.outcomes.items() if each.code != "good"} - self.failed
        for number in failed:
            assert self.outcomes[number].begun < gone, (number, self.outcomes[number], gone)
            assert number not in self.received(other), self.outcomes[number]
        assert len(failed) <= CLIENTS
        self.failed |= failed
