"""What happens beside the requests: the first key, last uses written down, old entries removed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from toolway.plugin import Kernel, ToolwayError, beside
from toolway_tokens.authenticator import TokenAuthenticator
from toolway_tokens.catalog import BATCH, TokenCatalog
from toolway_tokens.endings import DisabledAccounts
from toolway_tokens.key_store import KeyStore

log = logging.getLogger(__name__)

PRUNE_SECONDS = 3600.0
RETRY_SECONDS = 0.1
LEASE = "tokens.prune"
LEASE_SECONDS = 300.0


class Upkeep:
    """Runs as long as the gateway. `retention` and `record_interval` are seconds."""

    name = "tokens"

    def __init__(
        self,
        kernel: Kernel,
        catalog: TokenCatalog,
        keys: KeyStore,
        authenticator: TokenAuthenticator,
        *,
        retention: float,
        record_interval: float,
    ) -> None:
        self._kernel = kernel
        self._catalog = catalog
        self._keys = keys
        self._authenticator = authenticator
        self._retention = retention
        self._record_interval = record_interval
        self.disabled = DisabledAccounts()

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`; what is not written down yet is, at the end."""
        await self._keys.ensure()
        loops = (
            _repeat(self.record, self._record_interval),
            _repeat(self.prune, PRUNE_SECONDS),
            _repeat(self.end_disabled, RETRY_SECONDS),
        )
        try:
            async with beside(self.name, *loops):
                yield
        finally:
            with contextlib.suppress(ToolwayError):
                await self.record()

    async def record(self) -> None:
        """Write down the last uses since the last time: one row each, whatever the number of requests."""
        uses = dict(self._authenticator.uses)
        if not uses:
            return
        await self._catalog.record(uses)
        for jti, use in uses.items():
            if self._authenticator.uses.get(jti) == use:
                del self._authenticator.uses[jti]

    async def end_disabled(self) -> None:
        """Wait until an account was disabled, and end its tokens: they do not come back when it is enabled again."""
        await self.disabled.changed.wait()
        disabled = self.disabled.found
        async with self._catalog.database.write() as tx:
            ended = await self._catalog.end_subjects(tx, disabled)
        if ended:
            log.info("%d tokens of disabled accounts ended", ended)
        if self.disabled.found is disabled:
            self.disabled.changed.clear()

    async def prune(self) -> None:
        """Remove what ended longer ago than the retention; of all nodes, the one that holds the lease."""
        async with self._kernel.keyvalue.lock(LEASE, LEASE_SECONDS) as fence:
            if fence is None:
                return
            before = self._kernel.clock.now() - self._retention
            while await self._catalog.prune(before) == BATCH:
                await asyncio.sleep(0)
            await self._keys.prune()


async def _repeat(work: Callable[[], Awaitable[None]], interval: float) -> None:
    while True:
        await asyncio.sleep(interval)
        try:
            await work()
        except ToolwayError as error:
            log.warning("%s of tokens failed and is tried again: %s", work.__name__, error.message)
