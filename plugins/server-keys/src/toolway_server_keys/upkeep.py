"""What happens beside the requests: last uses written down, keys ended with what made them, old ones removed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from toolway.plugin import Conflict, Kernel, ToolwayError, beside
from toolway_server_keys.authenticator import KeyAuthenticator
from toolway_server_keys.endings import EndedCredentials
from toolway_server_keys.key_store import BATCH, KeyStore

log = logging.getLogger(__name__)

PRUNE_SECONDS = 3600.0
END_SECONDS = 0.5
LEASE = "server-keys.prune"
LEASE_SECONDS = 300.0


class Upkeep:
    """Runs as long as the gateway. `retention` and `record_interval` are seconds."""

    name = "server-keys"

    def __init__(
        self,
        kernel: Kernel,
        store: KeyStore,
        authenticator: KeyAuthenticator,
        ended: EndedCredentials,
        *,
        retention: float,
        record_interval: float,
    ) -> None:
        self._kernel = kernel
        self._store = store
        self._authenticator = authenticator
        self._ended = ended
        self._retention = retention
        self._record_interval = record_interval

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`; what is not written down yet is, at the end."""
        loops = (
            _repeat(self.record, self._record_interval),
            _repeat(self.prune, PRUNE_SECONDS),
            _repeat(self.end, END_SECONDS),
        )
        try:
            async with beside(self.name, *loops):
                yield
        finally:
            for work in (self.end, self.record):
                with contextlib.suppress(ToolwayError):
                    await work()

    async def record(self) -> None:
        """Write down the last uses since the last time: one row each, whatever the number of requests."""
        uses = dict(self._authenticator.uses)
        if not uses:
            return
        await self._store.record(uses)
        for key_id, use in uses.items():
            if self._authenticator.uses.get(key_id) == use:
                del self._authenticator.uses[key_id]

    async def end(self) -> None:
        """End what was made with credentials that are over; another node may have done so."""
        credentials = frozenset(self._ended.waiting)
        if not credentials:
            return
        for key_id in await self._store.made_with(credentials):
            with contextlib.suppress(Conflict):
                await self._store.end(key_id, credentials)
        self._ended.waiting -= credentials

    async def prune(self) -> None:
        """Remove what ended longer ago than the retention; of all nodes, the one that holds the lease."""
        async with self._kernel.keyvalue.lock(LEASE, LEASE_SECONDS) as fence:
            if fence is None:
                return
            before = self._kernel.clock.now() - self._retention
            while await self._store.prune(before) == BATCH:
                await asyncio.sleep(0)


async def _repeat(work: Callable[[], Awaitable[None]], interval: float) -> None:
    while True:
        await asyncio.sleep(interval)
        try:
            await work()
        except ToolwayError as error:
            log.warning("%s of server keys failed and is tried again: %s", work.__name__, error.message)
