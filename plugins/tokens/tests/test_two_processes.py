"""Two gateway processes on one database: what one does counts for the other at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import aiohttp
import pytest
import pytest_asyncio

from toolway_testing.polling import eventually
from toolway_testing.processes import ON_BOTH_DATABASES, SECONDS, Clients, two_processes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

RUNS, AT_ONCE = 20, 50


class Processes(Clients):
    """The addresses of both; with SQLite they are two workers behind one. `token` is the local admin's."""

    async def call(self, token: str, at: int = 0) -> str:
        """The outcome of one call on a connection of its own: a text, or what went wrong."""
        status, answer = await self.echo(token, at)
        if status != 200:
            return str(status)
        return str(answer["result"]["content"][0]["text"]) if "result" in answer else str(answer["error"])


@pytest_asyncio.fixture(params=ON_BOTH_DATABASES)
async def processes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Processes]:
    """Two workers on SQLite, or two nodes on PostgreSQL."""
    tables = '[plugins]\nenable = ["tokens"]'
    with two_processes(request, tmp_path, tables, public_url="http://gate.example") as both:
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        async with aiohttp.ClientSession(connector=connector) as http:
            found = Processes(both.urls, both.token, http)
            await eventually(lambda: _ready(found), SECONDS)
            yield found


async def _ready(processes: Processes) -> bool:
    return all([await processes.call(processes.token, at) == "hello" for at in (0, 1) for _ in range(4)])


async def test_of_fifty_uses_of_a_one_time_token_exactly_one_succeeds_twenty_times_in_a_row(
    processes: Processes,
) -> None:
    for _ in range(RUNS):
        token = (await processes.api("POST", "/tokens", {"single_use": True}))["token"]

        uses = [processes.call(token, number % 2) for number in range(AT_ONCE)]
        outcomes = Counter(await asyncio.gather(*uses))

        assert outcomes.pop("hello") == 1, outcomes
        assert outcomes.keys() <= {"401", "429"}


async def test_a_revocation_counts_at_the_other_process_within_a_second(processes: Processes) -> None:
    made = await processes.api("POST", "/tokens", {})
    for _ in range(8):
        assert await processes.call(made["token"], 1) == "hello"

    await processes.api("DELETE", f"/tokens/{made['name']}")
    before = monotonic()
    await eventually(lambda: _refused_by_all(processes, made["token"]))

    assert monotonic() - before < 1.0


async def _refused_by_all(processes: Processes, token: str) -> bool:
    return all([await processes.call(token, 1) in ("401", "429") for _ in range(6)])


async def test_a_token_of_one_process_with_a_key_just_made_is_good_at_the_other(processes: Processes) -> None:
    await processes.api("POST", "/token-keys/rotate", at=0)
    token = (await processes.api("POST", "/tokens", {}, at=0))["token"]

    assert await processes.call(token, 1) == "hello"
