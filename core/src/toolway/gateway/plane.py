"""The parts of the data plane that every front needs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec

from toolway.catalog.catalog import Catalog
from toolway.catalog.snapshot import ServerView
from toolway.errors import NotFound
from toolway.gateway.access import Access
from toolway.gateway.background import Background
from toolway.gateway.dispatch import Dispatch
from toolway.gateway.legs import Legs
from toolway.gateway.limits import OpenStreams
from toolway.gateway.lists import Lists
from toolway.gateway.parked import Parking
from toolway.gateway.relay import Relay
from toolway.gateway.sessions import Sessions
from toolway.gateway.subscriptions import Hub
from toolway.plugin.kernel import Clock, Seal


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
    open_streams: OpenStreams
    server_info: dict[str, Any]
    background: Background = msgspec.field(default_factory=Background)

    def view(self, server: str) -> ServerView:
        """The virtual server as it is now; raises NotFound when it is gone."""
        view = self.catalog.snapshot.servers.get(server)
        if view is None:
            raise NotFound(f"there is no server {server!r}")
        return view

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something that may outlive its HTTP request; drained when the gateway stops."""
        return self.background.start(work, "a request")

    def sweep(self) -> None:
        """Forget what nobody used for a while; call it every minute."""
        self.legs.close_idle()
        self.sessions.sweep()

    async def drain(self) -> None:
        """Streams end properly, calls that wait for a person end, other calls finish."""
        self.open_streams.end()
        self.parking.drop()
        await self.background.done()
