"""Ten times as many calls as can be done: as many are done as ever, as fast, and the gateway says that it lives."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp
import machine
import pytest
from faults_page import IS_WHOLE, Figures
from flood import Report
from flooding import flood
from node import node

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

RULES = (
    'enable = ["rate-limit", "uvicorn"]\n[[plugins.rate-limit.rules]]\nname = "all"\nby = "global"\n'
    'rate = "1000000/s"\n[plugins.rate-limit.shedding]\nin_flight = {in_flight}\nhold = 1\n'
)
WARM = 1.0
SLOTS, NAP = 8, 0.2
CLIENTS = 32
TIMES = 10


async def test_far_more_calls_than_an_upstream_can_do(tmp_path: Path, figures: Figures) -> None:
    lasting, capacity = 30.0 if IS_WHOLE else 4.0, SLOTS / NAP
    with node(tmp_path, "drain_delay = 0", f"in_flight = {SLOTS}", RULES.format(in_flight=750)) as gateway, _alone():
        before = await flood(gateway.endpoint, seconds=WARM + min(lasting, 8.0), nap=NAP, rate=0.8 * capacity)
        async with _health(gateway.url) as health:
            over = await flood(gateway.endpoint, seconds=WARM + lasting, nap=NAP, rate=TIMES * capacity)
        after = await flood(gateway.endpoint, seconds=WARM + 3.0, nap=NAP, rate=0.8 * capacity)

    _check([before, over, after], health)
    goodput = over.good / lasting / capacity
    assert over.good
    assert after.good
    if IS_WHOLE:
        assert goodput >= 0.8
        assert over.p99 <= 2 * before.p99
        assert after.good >= 0.9 * before.good * 3.0 / min(lasting, 8.0)
    figures.add(
        f"overload: {TIMES} times the calls that an upstream can do, for {lasting:.0f} s",
        clients="503 with `Retry-After` for the surplus; who is served is served as fast as ever",
        figures=f"{goodput:.0%} of the peak is done; p99 {over.p99 * 1000:.0f} ms ({before.p99 * 1000:.0f} ms before); "
        f"`/health` within {max(health.times) * 1000:.0f} ms",
        recovery=f"{after.good / 3.0 / (0.8 * capacity):.0%} of what is asked at once after it",
    )


async def test_far_more_clients_than_the_gateway_can_serve(tmp_path: Path, figures: Figures) -> None:
    rounds, each = (3, 10.0) if IS_WHOLE else (1, 3.0)
    normal, over = list[Report](), list[Report]()
    with node(tmp_path, "drain_delay = 0", "in_flight = 1000", RULES.format(in_flight=CLIENTS)) as gateway, _alone():
        async with _health(gateway.url) as health:
            for _ in range(rounds):  # by turns: the machine is not as fast all the time
                normal.append(await flood(gateway.endpoint, seconds=WARM + each / 2, clients=CLIENTS))
                over.append(await flood(gateway.endpoint, seconds=WARM + each, clients=TIMES * CLIENTS))

    _check([*normal, *over], health)
    goodput = sum(one.good for one in over) / sum(one.good for one in normal) / 2
    p99, p99_before = (statistics.median(one.p99 for one in reports) for reports in (over, normal))
    if IS_WHOLE:
        assert goodput >= 0.8
        assert p99 <= 2 * p99_before
    figures.add(
        f"overload: {TIMES} times the clients that keep the gateway busy, who come back at once, for "
        f"{rounds} x {each:.0f} s (`in_flight = {CLIENTS}`, `hold = 1` of `rate-limit`)",
        clients="503 with `Retry-After` after a while for the surplus",
        figures=f"{goodput:.0%} of the peak is done; p99 {p99 * 1000:.0f} ms ({p99_before * 1000:.0f} ms otherwise); "
        f"`/health` within {max(health.times) * 1000:.0f} ms",
        recovery="at once",
    )


def _check(reports: list[Report], health: Health) -> None:
    """Every answer is one, the load was not busy with itself, and health was never in question."""
    for each in reports:
        assert set(each.statuses) <= {"200", "503"}
        assert (each.broken, each.wrong) == (0, 0)
        assert each.busy < 0.7 or not IS_WHOLE, "the load generator is the bottleneck"
    assert health.failures == 0
    assert health.times
    assert max(health.times) < 2 or not IS_WHOLE


@contextlib.contextmanager
def _alone() -> Any:
    """As a benchmark, where figures count."""
    with machine.alone() if IS_WHOLE else contextlib.nullcontext():
        yield


@dataclass
class Health:
    """How long each look took, and how many were not answered with 200."""

    times: list[float] = field(default_factory=list)
    failures: int = 0


@contextlib.asynccontextmanager
async def _health(url: str) -> AsyncIterator[Health]:
    """While the context lasts, `/health` is looked at, each time on a new connection as probes do."""
    seen = Health()

    async def look() -> None:
        while True:
            began = perf_counter()
            try:
                async with aiohttp.ClientSession() as http, http.get(f"{url}/health") as answer:
                    seen.failures += answer.status != 200
            except aiohttp.ClientError:
                seen.failures += 1
            seen.times.append(perf_counter() - began)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(look())
    try:
        yield seen
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
