"""The parts of the data plane that every front needs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, NamedTuple

from toolway.background import Background
from toolway.catalog.catalog import Catalog
from toolway.catalog.parts import Revoked
from toolway.catalog.snapshot import ServerView, Snapshot
from toolway.catalog.store import REVOCATIONS
from toolway.config import GatewaySettings
from toolway.errors import NotFound
from toolway.gateway.access import Access
from toolway.gateway.attempt import Attempts
from toolway.gateway.dispatch import Dispatch
from toolway.gateway.legs import Legs
from toolway.gateway.limits import Quota, Stays
from toolway.gateway.lists import Lists
from toolway.gateway.parked import PARK_SECONDS, Parking, quota
from toolway.gateway.relay import Relay
from toolway.gateway.sessions import Sessions
from toolway.gateway.subscriptions import Hub
from toolway.gateway.watching import CallWatchers
from toolway.hookspecs import attempts, routing, telemetry
from toolway.hookspecs.secrets import UpstreamAuth
from toolway.plugin.kernel import Kernel

STREAM_SECONDS, STREAM_SPREAD = 86_400.0, 0.1
CHECK_SECONDS = 5.0
SWEEP_SECONDS = 60.0


class Providers(NamedTuple):
    """What plugins bring into the way of a call."""

    kinds: Mapping[str, routing.UpstreamKind]
    auths: Mapping[str, UpstreamAuth]
    balancer: attempts.Balancer
    policies: tuple[attempts.PolicyAdjuster, ...]
    filters: tuple[attempts.EndpointFilter, ...]
    watchers: tuple[attempts.AttemptWatcher, ...]
    middleware: tuple[routing.RequestMiddleware, ...]
    call_watchers: tuple[telemetry.CallWatcher, ...]


class DataPlane:
    """Wires them, once per gateway; `providers` are those of plugins that calls go through."""

    def __init__(
        self, kernel: Kernel, settings: GatewaySettings, catalog: Catalog, access: Access, providers: Providers
    ) -> None:
        limits, clock, kinds, auths = settings.limits, kernel.clock, providers.kinds, providers.auths
        self.node, self.clock, self.seal = kernel.node, clock, kernel.seal
        self.catalog, self.access, self.background = catalog, access, Background()
        open_streams = Quota("open streams", limits.streams_per_principal, limits.streams)
        self.streams = Stays(open_streams, access, clock, STREAM_SECONDS, STREAM_SPREAD)
        self.parked = Stays(quota(), access, clock, PARK_SECONDS)
        self.parking = Parking(self.node, self.seal, clock, self.parked)
        self.lists = Lists(access, self.seal, settings.page_size)
        self.legs = Legs(kinds, auths, clock, catalog.stir)
        self.hub = Hub(self.legs, self.lists, lambda: catalog.snapshot)
        links = providers.balancer, providers.policies, providers.filters, providers.watchers
        attempts = Attempts(catalog, self.legs, self.parking, *links, clock)
        calls = Quota("calls in flight", limits.calls_per_principal, limits.calls)
        watching = CallWatchers(providers.call_watchers) if providers.call_watchers else None
        self.dispatch = Dispatch(attempts, self.lists, calls, providers.middleware, watching)
        self.relay = Relay(self.node, kernel.pubsub)
        self.sessions = Sessions(self.node, self.seal, clock, kernel.keyvalue, self.relay)
        self.sessions.closers.append(lambda session: self.legs.discard_all(lambda held: held.session is session))
        catalog.on_swap(self.legs.swapped)
        catalog.on_swap(self.hub.swapped)
        access.dropped = self.drop
        catalog.on_swap(self._revoke)
        for name, what, read in (
            ("calls_in_flight", "Calls of clients that are not answered yet.", lambda: calls.total),
            ("attempts_in_flight", "Calls that have a slot of their upstream.", lambda: attempts.queues.total),
            ("calls_queued", "Calls that wait for a slot of their upstream.", lambda: attempts.queues.queued),
            ("calls_parked", "Calls that wait for their client.", lambda: self.parked.quota.total),
            ("streams_open", "Open streams of clients.", lambda: open_streams.total),
            ("sessions", "Sessions of legacy clients that this worker knows.", lambda: self.sessions.count),
        ):
            kernel.metrics.sampled(f"toolway_{name}", what, read)
        age, what = "toolway_snapshot_age_seconds", "Since the database last told whether anything changed."
        kernel.metrics.sampled(age, what, lambda: clock.monotonic() - catalog.seen_at, largest=True)

    def view(self, server: str) -> ServerView:
        """The virtual server as it is now; raises NotFound when it is gone."""
        view = self.catalog.snapshot.servers.get(server)
        if view is None:
            raise NotFound(f"there is no server {server!r}")
        return view

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something that may outlive its HTTP request; drained when the gateway stops."""
        return self.background.start(work, "a request")

    def drop(self, principals: frozenset[str]) -> None:
        """End the sessions and legs of principals who have no accepted credential any more."""
        self.sessions.drop(principals.__contains__)
        self.legs.discard_all(lambda held: held.principal in principals)

    def _revoke(self, old: Snapshot, new: Snapshot) -> None:
        """Forget revoked credentials once the parts of the snapshot know it too, and end what they opened."""
        revoked: Revoked | None = new.parts.get(REVOCATIONS)
        if revoked is not None and revoked.keys and revoked is not old.parts.get(REVOCATIONS):
            self.access.revoke(revoked.keys)
            for stays in (self.streams, self.parked):
                self.background.start(stays.check(anew=True), "ending what revoked credentials opened")

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
