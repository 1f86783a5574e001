"""The gateway is stopped: under load, twice, and with servers of its own that do not want to end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from time import perf_counter

import aiohttp
import pytest
from faults_page import IS_WHOLE, Figures
from node import NAPPING, Clients, busy, in_front_of, node
from stage import Replica

from toolway_testing.polling import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ROUNDS = 20 if IS_WHOLE else 2
DELAY, LONGEST_NAP = 0.4, 0.4
DRAIN = f"drain_delay = {DELAY}\ndrain_timeout = 5"
BOUND = 5.0
"""Seconds from the signal to the end: the delay, the longest call, and what a busy machine adds."""


@pytest.mark.parametrize("runner", ["hypercorn", "uvicorn"])
@pytest.mark.parametrize("workers", [1, 2])
async def test_it_is_stopped_under_load_again_and_again(
    tmp_path: Path, figures: Figures, workers: int, runner: str
) -> None:
    answered, longest, replica = 0, 0.0, Replica(NAPPING, tmp_path)
    rounds = ROUNDS if runner == "uvicorn" else max(1, ROUNDS // 4)
    enable = "enable = []" if runner == "hypercorn" else f'enable = ["{runner}"]'
    with replica.stack:
        replica.start()
        for number in range(rounds):
            with in_front_of(replica, f"workers = {workers}\n{DRAIN}", plugins=enable) as gateway:
                async with busy(gateway.endpoint, each=3, streams=3) as clients:
                    await eventually(lambda clients=clients: clients.seen["slow call"] > 3)  # type: ignore[misc]
                    told = perf_counter()
                    gateway.process.send_signal(signal.SIGTERM)
                    await asyncio.to_thread(gateway.process.wait, 20)
                    longest = max(longest, perf_counter() - told)
                assert clients.failures == {}, (number, gateway.log.read_text()[-2000:])
                assert gateway.process.returncode == 0
                assert clients.seen["stream"] == 6
                answered += clients.seen.total()
    assert longest < BOUND
    figures.add(
        f"SIGTERM under load, {workers} worker{'s' * (workers > 1)} ({runner})",
        clients="nothing: calls are answered, subscriptions too, streams end properly; then no new connections",
        figures=f"{rounds} times in a row: 0 of {answered} requests and streams failed, no connection was reset",
        recovery=f"exit code 0 after {longest:.1f} s at most ({DELAY} s of it to let load balancers notice)",
    )


async def test_a_second_signal_ends_it_at_once(tmp_path: Path, figures: Figures) -> None:
    with node(tmp_path, "drain_delay = 20\ndrain_timeout = 20") as gateway:
        clients = Clients(gateway.endpoint)
        async with aiohttp.ClientSession() as http:
            call = asyncio.create_task(clients.attempt("slow call", lambda http: clients.call(http, 30), http))
            await clients.call(http, 0)
            told = perf_counter()
            gateway.process.send_signal(signal.SIGTERM)
            await eventually(lambda: _status(f"{gateway.url}/ready", 503))
            noticed = perf_counter() - told
            assert await _status(f"{gateway.url}/health", 200)
            await clients.call(http, 0)
            again = perf_counter()
            gateway.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(gateway.process.wait, 20)
            lasted = perf_counter() - again
            await call

    assert noticed < 2
    assert lasted < 3
    assert "(503, " in next(iter(clients.failures)), "who is in flight is told"
    figures.add(
        "SIGTERM, and another one while it drains",
        clients="`/ready` is 503 with `Connection: close` at once, `/health` 200, calls go on; after the second one "
        "what is in flight: 503",
        figures=f"not ready after {noticed * 1000:.0f} ms, gone {lasted:.1f} s after the second signal",
        recovery="-",
    )


async def _status(url: str, wanted: int) -> bool:
    """Whether the answer has that status, and says that the connection is of no more use."""
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return answer.status == wanted and answer.headers.get("connection") == "close"


@pytest.mark.parametrize("signals", [1, 2])
async def test_servers_on_stdio_end_with_it(tmp_path: Path, figures: Figures, signals: int) -> None:
    script, ids, replica = Path(__file__).with_name("stubborn.py"), tmp_path / "ids", Replica(NAPPING, tmp_path)
    table = f'[[upstreams]]\nname = "stubborn"\nkind = "stdio"\ncommand = ["{sys.executable}", "{script}", "{ids}"]'
    with replica.stack:
        replica.start()
        with in_front_of(replica, "drain_delay = 0", "", "enable = []", table) as gateway:
            await eventually(lambda: ids.exists() and len(ids.read_text().split()) == 2)
            group = [int(each) for each in ids.read_text().split()]
            try:
                assert all(_runs(pid) for pid in group)
                told = perf_counter()
                for _ in range(signals):
                    gateway.process.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(gateway.process.wait, 20) == 0
                lasted = perf_counter() - told
                assert not any(_runs(pid) for pid in group)
            finally:
                for pid in filter(_runs, group):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
    if signals == 1:
        figures.add(
            "SIGTERM, with a stdio server and a child of it that ignore SIGTERM and the end of their input",
            clients="nothing",
            figures=f"both are gone when the gateway is, after {lasted:.1f} s",
            recovery="-",
        )


def _runs(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
