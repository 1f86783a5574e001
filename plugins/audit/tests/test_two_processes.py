"""Two gateway processes on one database write one chain."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from toolway_testing.polling import eventually
from toolway_testing.processes import ON_BOTH_DATABASES, SECONDS, Clients, two_processes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

CHANGES, CALLS = 20, 100
TABLES = '[plugins]\nenable = ["audit"]\n[plugins.audit]\ncalls = "all"\ninterval = 0.05'


class Processes(Clients):
    """The addresses of both; with SQLite they are two workers behind one. `token` is the local admin's."""

    async def call(self, at: int) -> bool:
        return "result" in (await self.echo(self.token, at))[1]

    async def change(self, number: int) -> None:
        body = {"name": f"s{number}"}
        await self.api("POST", "/servers", body, at=number % 2)

    async def found(self, action: str) -> list[dict[str, Any]]:
        """Every record of this action."""
        records: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await self.api("GET", f"/audit?limit=500&action={action}&cursor={cursor}")
            records += page["items"]
            cursor = page["next_cursor"]
        return records


@pytest_asyncio.fixture(params=ON_BOTH_DATABASES)
async def processes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Processes]:
    """Two workers on SQLite, or two nodes on PostgreSQL."""
    with two_processes(request, tmp_path, TABLES) as both:
        connector = aiohttp.TCPConnector(force_close=True, limit=20)
        async with aiohttp.ClientSession(connector=connector) as http:
            found = Processes(both.urls, both.token, http)
            await eventually(lambda: _ready(found), SECONDS)
            yield found


async def _ready(processes: Processes) -> bool:
    return all([await processes.call(at) for at in (0, 1) for _ in range(4)])


async def test_changes_and_calls_of_both_are_in_one_chain_without_gaps(processes: Processes) -> None:
    before = len(await processes.found("tools/call"))
    calls = [processes.call(number % 2) for number in range(CALLS)]
    changes = [processes.change(number) for number in range(CHANGES)]
    outcomes = await asyncio.gather(*calls, *changes)
    assert all(outcomes[:CALLS])

    async def are_written() -> bool:
        return len(await processes.found("tools/call")) >= before + CALLS

    await eventually(are_written, SECONDS)

    objects = Counter(record["object"] for record in await processes.found("servers.create"))
    assert objects == Counter(f"servers/s{number}" for number in range(CHANGES))
    records = await processes.found("*")
    assert sorted(record["seq"] for record in records) == list(range(1, len(records) + 1))
    assert len({record["node"] for record in records}) == 2
    verdict = await processes.api("GET", "/audit/verify", at=1)
    assert (verdict["is_intact"], verdict["problems"]) == (True, [])
