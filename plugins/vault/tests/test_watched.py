"""One path, and how often it is asked for."""

from __future__ import annotations

import asyncio

from toolway.clock import SystemClock
from toolway_vault.failures import VaultDown
from toolway_vault.readings import Lease, Reader, Reading
from toolway_vault.watched import Watched


class FailingDatabase(Reader):
    """A Vault that gives credentials once, and whose database is down from then on."""

    def __init__(self, clock: SystemClock) -> None:
        self._now = clock.monotonic
        self.asked = 0

    async def read(self, path: str, known: Reading | None) -> Reading:
        await asyncio.sleep(0)
        self.asked += 1
        if self.asked > 1:
            raise VaultDown("it answers with the status 500")
        return Reading({"password": "first"}, "1", self._now(), Lease("1", 3600.0, True, 3600.0, self._now() + 3600.0))


async def test_between_failed_reads_of_what_is_outdated_there_are_pauses() -> None:
    clock = SystemClock()
    reader = FailingDatabase(clock)
    watched = Watched("database/creds/app", reader, clock, poll=60.0, stale_for=3600.0)
    await watched.current()

    watched.outdated()
    for _ in range(100):
        await asyncio.sleep(0)

    assert reader.asked == 2
    assert (await watched.current()).data == {"password": "first"}
    await watched.close()
