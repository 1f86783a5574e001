"""What clients and upstreams see of this process across reloads: sessions, streams, parked calls, conversations."""

from __future__ import annotations

from contextlib import AsyncExitStack

from toolway.background import Background
from toolway.catalog.catalog import Catalog
from toolway.config import GatewaySettings
from toolway.gateway.access import Access
from toolway.gateway.legs import Legs
from toolway.gateway.limits import Quota, Stays
from toolway.gateway.lists import Lists
from toolway.gateway.parked import PARK_SECONDS, Parking, quota
from toolway.gateway.relay import Relay
from toolway.gateway.sessions import Sessions
from toolway.gateway.subscriptions import Hub
from toolway.plugin.kernel import Kernel

STREAM_SECONDS, STREAM_SPREAD = 86_400.0, 0.1


class Presence:
    """Kept while the process lives; each gateway that comes to serve makes it work with its own parts."""

    def __init__(
        self, kernel: Kernel, settings: GatewaySettings, catalog: Catalog, access: Access, lists: Lists
    ) -> None:
        node, clock, limits = kernel.node, kernel.clock, settings.limits
        self.background = Background()
        self.relay = Relay(node, kernel.pubsub)
        self.sessions = Sessions(node, kernel.seal, clock, kernel.keyvalue, self.relay)
        self.legs = Legs(clock)
        self.hub = Hub(self.legs, lists, lambda: catalog.snapshot)
        self.calls = Quota("calls in flight", limits.calls_per_principal, limits.calls)
        self.open_streams = Quota("open streams", limits.streams_per_principal, limits.streams)
        self.streams = Stays(self.open_streams, access, clock, STREAM_SECONDS, STREAM_SPREAD)
        self.parked = Stays(quota(), access, clock, PARK_SECONDS)
        self.parking = Parking(node, kernel.seal, clock, self.parked)
        self._listening = AsyncExitStack()

    async def open(self) -> None:
        """Listen to other nodes, if it does not yet."""
        if not self.relay.is_listening:
            await self._listening.enter_async_context(self.relay.run())

    async def close(self) -> None:
        """The process ends."""
        await self.background.close()
        await self.legs.close()
        await self._listening.aclose()

    async def drain(self) -> None:
        """Streams end properly, and calls that wait for a person."""
        self.streams.end()
        self.parked.end()
        await self.background.done()
