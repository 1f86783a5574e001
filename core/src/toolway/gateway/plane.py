"""The parts of the data plane that every front needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from toolway.background import Background
from toolway.catalog.catalog import Catalog
from toolway.catalog.snapshot import ServerView
from toolway.errors import NotFound
from toolway.gateway.access import Access
from toolway.gateway.dispatch import Dispatch
from toolway.gateway.legs import Legs
from toolway.gateway.limits import Stays
from toolway.gateway.lists import Lists
from toolway.gateway.parked import Parking
from toolway.gateway.relay import Relay
from toolway.gateway.sessions import Sessions
from toolway.gateway.subscriptions import Hub
from toolway.plugin.kernel import Clock, Seal

CHECK_SECONDS = 5.0
SWEEP_SECONDS = 60.0


class DataPlane(msgspec.Struct, frozen=True, eq=False):
    """Wired once per gateway by `app.build_gateway`."""

    node: str
    clock: Clock
    seal: Seal
    catalog: Catalog
    access: Access
    lists: Lists
    legs: Legs
    parking: Parking
    dispatch: Dispatch
    sessions: Sessions
    relay: Relay
    hub: Hub
    streams: Stays
    parked: Stays
    background: Background = msgspec.field(default_factory=Background)

    def view(self, server: str) -> ServerView:
        """The virtual server as it is now; raises NotFound when it is gone."""
        view = self.catalog.snapshot.servers.get(server)
        if view is None:
            raise NotFound(f"there is no server {server!r}")
        return view

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something that may outlive its HTTP request; drained when the gateway stops."""
        return self.background.start(work, "a request")

    def drop(self, matches: Callable[[str], bool]) -> None:
        """End all that is open for principals that `matches` names (a revoked credential)."""
        self.streams.end(matches)
        self.parked.end(matches)
        self.sessions.drop(matches)
        self.legs.discard_all(lambda held: matches(held.principal))

    async def tend(self) -> None:
        """End what stayed too long or lost its credential, forget what nobody used for a while; never returns."""
        while True:
            self.legs.close_idle()
            self.sessions.sweep()
            for _ in range(int(SWEEP_SECONDS / CHECK_SECONDS)):
                await asyncio.sleep(CHECK_SECONDS)
                await self.streams.check()
                await self.parked.check()

    async def drain(self) -> None:
        """Streams end properly, calls that wait for a person end, other calls finish."""
        self.streams.end()
        self.parked.end()
        await self.background.done()
        await self.dispatch.done()
