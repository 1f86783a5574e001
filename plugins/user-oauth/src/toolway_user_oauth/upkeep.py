"""What happens beside the requests: connections of accounts and upstreams that are gone are removed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from toolway.hookspecs.routing import Upstream
from toolway.hookspecs.system import Transaction
from toolway.plugin import Kernel, ToolwayError
from toolway_user_oauth.connections import PART, Connections
from toolway_user_oauth.wallet import Wallet

log = logging.getLogger(__name__)

PRUNE_SECONDS = 3600.0
CHUNK = 500
ACCOUNTS = ("user:", "service:")


class Moved:
    """The snapshot part: another object whenever a connection was made or ended, so that nodes read theirs anew."""

    name = PART
    after: tuple[str, ...] = ()

    async def load(self, tx: Transaction, parts: Mapping[str, Any]) -> object:
        """See `SnapshotPart`."""
        return object()


class Upkeep:
    """Runs as long as the gateway; in the end it waits for what the others have under way."""

    name = "user-oauth"

    def __init__(self, kernel: Kernel, connections: Connections, wallet: Wallet) -> None:
        self._kernel = kernel
        self._connections = connections
        self._wallet = wallet
        self._discovering: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`."""
        task = asyncio.create_task(self._forever())
        try:
            yield
        finally:
            tasks = (task, *self._discovering)
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._wallet.close()

    async def connected(self, principal: str, upstream: Upstream) -> None:
        """This node knows at once; what the upstream offers is discovered with the account that is meant for it."""
        await self._kernel.catalog.reload()
        if getattr(upstream.auth, "discover_as", "") == principal:
            task = asyncio.create_task(self._discover(upstream.name))
            self._discovering.add(task)
            task.add_done_callback(self._discovering.discard)

    async def _discover(self, upstream: str) -> None:
        try:
            await self._kernel.catalog.refresh(upstream)
        except ToolwayError as error:
            log.info("upstream %s was not discovered with the new connection: %s", upstream, error.message)

    async def prune(self) -> int:
        """Remove what nobody can use any more; returns how many connections that were."""
        accounts, upstreams = self._kernel.accounts, self._kernel.catalog.snapshot.upstreams
        upstream, principal, count = "", "", 0
        while chunk := await self._connections.after(upstream, principal, "", CHUNK):
            upstream, principal = chunk[-1].upstream, chunk[-1].principal
            for row in chunk:
                is_account = bool(accounts.accounts) and row.principal.startswith(ACCOUNTS)
                if row.upstream not in upstreams or (is_account and accounts.get(row.principal) is None):
                    count += await self._connections.end(row.principal, row.upstream, "gateway")
        return count

    async def _forever(self) -> None:
        while True:
            await asyncio.sleep(PRUNE_SECONDS)
            try:
                await self.prune()
            except ToolwayError as error:
                log.warning("removing old connections failed and is tried again: %s", error.message)
