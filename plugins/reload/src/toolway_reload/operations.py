"""The API of reloads, and what of them `/ready` and the metrics tell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from toolway.hookspecs.api import Incoming, Operation
from toolway.plugin import Kernel
from toolway_reload.follower import Follower
from toolway_reload.history import History
from toolway_reload.leader import Leader
from toolway_reload.schemas import Order, ReloadHistory, ReloadReport
from toolway_reload.settings import ReloadSettings
from toolway_reload.triggers import Triggers

READ, WRITE = "reload:read", "reload:write"
PATH = "/api/v1/reload"


class Reloads:
    """All of one gateway; as a service it takes part in the reloads of the cluster, as a check it tells of them."""

    name = "reload"
    critical = False

    def __init__(self, kernel: Kernel, settings: ReloadSettings) -> None:
        self._kernel = kernel
        self._follower = Follower(kernel, settings.patience)
        self._leader = Leader(kernel, settings.patience)
        self._triggers = Triggers(kernel, self._leader, settings)

    def operations(self) -> Iterable[Operation]:
        """All of them."""
        return [
            Operation("GET", PATH, READ, self.last, answer=ReloadHistory),
            Operation("POST", PATH, WRITE, self.reload, Order, answer=ReloadReport),
        ]

    async def last(self, incoming: Incoming) -> ReloadHistory:
        """Show how the last reloads ended, as far as the answering node was there."""
        return ReloadHistory(items=list(self._leader.history.reports))

    async def reload(self, incoming: Incoming) -> ReloadReport:
        """Read the configuration anew on every node and put it in force; or only check it."""
        return await self._leader.history.lead(
            self._leader.reload(incoming.principal.id, dry_run=incoming.body.dry_run)
        )

    async def collect(self) -> list[ReloadReport]:
        """See `Diagnostic`."""
        return list(self._leader.history.reports)

    async def check(self) -> str:
        """See `HealthCheck`: what was refused last."""
        return self._leader.history.complaint

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`."""
        self._leader.history = self._follower.history = await self._kernel.keep("reload", "", _history, History.close)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._follower.following())
            await stack.enter_async_context(self._triggers.open())
            yield


async def _history() -> History:
    return History()
