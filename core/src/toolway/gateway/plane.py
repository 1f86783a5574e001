"""The parts of the data plane that every front needs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, NamedTuple

from toolway.catalog.catalog import Catalog
from toolway.catalog.parts import Revoked
from toolway.catalog.snapshot import ServerView, Snapshot
from toolway.catalog.store import REVOCATIONS
from toolway.edge.watched import methods
from toolway.errors import NotFound
from toolway.gateway.access import Access
from toolway.gateway.attempt import Attempts
from toolway.gateway.dispatch import Dispatch
from toolway.gateway.exchange import Exchange
from toolway.gateway.lists import Lists
from toolway.gateway.presence import Presence
from toolway.gateway.streams import EventStream
from toolway.gateway.translate import introduction
from toolway.gateway.watching import Watchers
from toolway.hookspecs import attempts, routing
from toolway.hookspecs.routing import Call, Reply
from toolway.hookspecs.secrets import UpstreamAuth
from toolway.plugin.kernel import Kernel

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
    watching: Watchers


class DataPlane:
    """The data plane of one gateway; `providers` are those of plugins that calls go through."""

    def __init__(
        self, kernel: Kernel, catalog: Catalog, access: Access, providers: Providers, lists: Lists, presence: Presence
    ) -> None:
        self.node, self.clock, self.seal, self._metrics = kernel.node, kernel.clock, kernel.seal, kernel.metrics
        self.catalog, self.access, self.lists, self.presence = catalog, access, lists, presence
        self.background, self.relay, self.sessions = presence.background, presence.relay, presence.sessions
        self.legs, self.hub, self.streams = presence.legs, presence.hub, presence.streams
        self.parked, self.parking, self._providers = presence.parked, presence.parking, providers
        watchers = methods(providers.watchers, attempts.AttemptWatcher)
        links = providers.balancer, providers.policies, providers.filters, watchers
        self.attempts = Attempts(catalog, self.legs, self.parking, *links, self.clock)
        self.dispatch = Dispatch(
            self.attempts, lists, presence.calls, providers.middleware, providers.watching, kernel.redact
        )
        catalog.on_swap(self.legs.swapped)
        catalog.on_swap(self.hub.swapped)
        catalog.on_swap(self._revoke)

    def enter(self, before: DataPlane | None) -> None:
        """Serve from now on, in place of another one: what is open goes on, with what is known here."""
        catalog, hub = self.catalog, self.hub
        self.attempts.catalog = (before or self).attempts.catalog = catalog  # also of calls that wait
        self.access.dropped = self.drop
        self.sessions.closers = [lambda session: self.legs.discard_all(lambda held: held.session is session)]
        self.streams.access = self.parked.access = self.access
        self.legs.serve(self._providers.kinds, self._providers.auths, catalog.hear)
        hub.lists, hub.snapshot = self.lists, lambda: catalog.snapshot
        self._measure()
        if before is not None:
            catalog.take_over(before.catalog)
            self.legs.swapped(before.catalog.snapshot, catalog.snapshot)
            hub.swapped(before.catalog.snapshot, catalog.snapshot)

    def _measure(self) -> None:
        queues, catalog, clock = self.attempts.queues, self.catalog, self.clock
        for name, what, read in (
            ("calls_in_flight", "Calls of clients that are not answered yet.", lambda: self.presence.calls.total),
            ("attempts_in_flight", "Calls that have a slot of their upstream.", lambda: queues.total),
            ("calls_queued", "Calls that wait for a slot of their upstream.", lambda: queues.queued),
            ("calls_parked", "Calls that wait for their client.", lambda: self.parked.quota.total),
            ("streams_open", "Open streams of clients.", lambda: self.streams.quota.total),
            ("sessions", "Sessions of legacy clients that this worker knows.", lambda: self.sessions.count),
        ):
            self._metrics.sampled(f"toolway_{name}", what, read)
        age, what = "toolway_snapshot_age_seconds", "Since the database last told whether anything changed."
        self._metrics.sampled(age, what, lambda: clock.monotonic() - catalog.seen_at, largest=True)

    def view(self, server: str) -> ServerView:
        """The virtual server as it is now; raises NotFound when it is gone."""
        view = self.catalog.snapshot.servers.get(server)
        if view is None:
            raise NotFound(f"there is no server {server!r}")
        return view

    async def call(self, call: Call) -> Reply:
        """See `plugin.Kernel`."""
        stream, about = EventStream(closed=True), introduction(call.client)
        call.peer = exchange = Exchange(0, call.principal, call.client, about, stream, self.parking, params=call.params)
        exchange.made = call
        await self.dispatch.run(exchange, self.view(call.server))
        return exchange.late or Reply()

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
        await self.presence.drain()
        await self.dispatch.done()
