"""Two gateway processes on one database: what one does counts for the other at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from toolway_testing.polling import eventually
from toolway_testing.processes import ON_BOTH_DATABASES, SECONDS, Clients, two_processes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SERVERS = "\n".join(f'[[servers]]\nname = "{name}"\ninclude = ["demo/*"]' for name in ("billing", "support"))


class Processes(Clients):
    """The addresses of both; with SQLite they are two workers behind one. `token` is the local admin's."""

    async def keys(self, method: str, path: str, body: Any = None, *, at: int = 0) -> Any:
        """A request to the API of keys."""
        return await self.api(method, f"/server-keys{path}", body, at=at)

    async def call(self, credential: str, at: int = 0, server: str = "billing") -> bool:
        """Whether a call on a connection of its own succeeds."""
        status, answer = await self.echo(credential, at, server)
        return bool(status == 200 and answer["result"]["content"][0]["text"] == "hello")

    async def works(self, credential: str, server: str = "billing") -> bool:
        """Whether it works at both, whichever process answers."""
        return all([await self.call(credential, at, server) for at in (0, 1) for _ in range(4)])

    async def fails(self, credential: str) -> bool:
        """Whether it works at none."""
        return not any([await self.call(credential, at) for at in (0, 1) for _ in range(4)])


@pytest_asyncio.fixture(params=ON_BOTH_DATABASES)
async def processes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Processes]:
    """Two workers on SQLite, or two nodes on PostgreSQL."""
    tables = '[plugins]\nenable = ["server-keys"]\n' + SERVERS
    with two_processes(request, tmp_path, tables) as both:
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        async with aiohttp.ClientSession(connector=connector) as http:
            found = Processes(both.urls, both.token, http)
            await eventually(lambda: found.works(both.token), SECONDS)
            yield found


async def test_keys_are_made_rotated_and_revoked_for_both(processes: Processes) -> None:
    made = await processes.keys("POST", "", {"servers": ["billing"]}, at=0)
    other = await processes.keys("POST", "", {"servers": ["support"]}, at=1)
    assert await processes.works(made["key"]) and await processes.works(other["key"], "support")

    new = await processes.keys("POST", f"/{made['name']}/rotate", {"grace": "1h"}, at=1)
    assert await processes.works(made["key"]) and await processes.works(new["key"])

    newest = await processes.keys("POST", f"/{made['name']}/rotate", {"grace": "0s"}, at=0)
    assert await within_a_second(processes, made["key"], new["key"])
    assert await processes.works(newest["key"])

    await processes.keys("DELETE", f"/{made['name']}", at=1)
    assert await within_a_second(processes, newest["key"])
    assert await processes.works(other["key"], "support")


async def within_a_second(processes: Processes, *keys: str) -> bool:
    """Whether all of them are refused by both soon enough."""
    before = monotonic()
    for key in keys:
        await eventually(lambda key=key: processes.fails(key))  # type: ignore[misc]
    return monotonic() - before < 1.0
