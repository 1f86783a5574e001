"""The middleware: answers calls with copies, lets one call go to the upstream for all who want the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

from toolway.hookspecs.routing import Call, CallNext, Reply, RpcFault, Target
from toolway.plugin import CircuitOpen, Kernel, SessionLost, UpstreamError, UpstreamUnauthorized
from toolway_cache.counts import Outcome
from toolway_cache.entries import Entry
from toolway_cache.flights import Alone
from toolway_cache.kept import Kept
from toolway_cache.keys import PROGRESS, Keys
from toolway_cache.plans import Plan, Plans
from toolway_cache.refreshing import REFRESH, Refreshes
from toolway_cache.settings import CacheSettings
from toolway_cache.shared import SharedCopies
from toolway_cache.wanted import Wanted

KEPT = "cache_kept"
"""Among the attributes of a call whose result was kept."""
NOT_KEPT = (CircuitOpen, SessionLost, UpstreamUnauthorized)
"""Failures that say something about the gateway or about whoever called."""


class Cache:
    """See `RequestMiddleware`. `told` hears how each call was answered, `wrote` of calls that may change something."""

    name = "cache"
    methods: ClassVar[frozenset[str]] = frozenset({"tools/call", "prompts/get", "resources/read"})

    def __init__(self, kernel: Kernel, settings: CacheSettings, shared: SharedCopies | None = None) -> None:
        self.kept, self._shared = Kept(settings.memory), shared
        self.wrote: Callable[[str], None] = lambda upstream: None
        self.told: Callable[[str, Outcome], None] = lambda upstream, outcome: None
        self._settings, self._clock, self._catalog = settings, kernel.clock, kernel.catalog
        self._plans, self._keys = Plans(settings), Keys(settings.ignored_meta)
        self.refreshes = Refreshes(kernel, settings.refreshes)

    async def __call__(self, call: Call, call_next: CallNext) -> Reply:
        """Answer, or pass on."""
        target = call.target
        if target is None:
            return await call_next(call)
        if REFRESH in call.__dict__:
            if call.__dict__[REFRESH] != target:
                return Reply(fault=RpcFault(-32603, "the item is another one by now"))
            self._count(call, target, "refresh")
        plan = self._plans.of(call, target)
        if plan.kind == "write":
            return await self._written(call, target.upstream, call_next)
        params = call.params
        is_kept = plan.kind == "keep" and not call.principal.single_use
        if not is_kept or "requestState" in params or "inputResponses" in params:
            return await call_next(call)
        return await self._answered(call, target, plan, call_next)

    async def _written(self, call: Call, upstream: str, call_next: CallNext) -> Reply:
        """What is kept of the upstream may be old once this is over, however it ends."""
        try:
            return await call_next(call)
        finally:
            self.kept.drop(upstream)
            self.wrote(upstream)

    async def _answered(self, call: Call, target: Target, plan: Plan, call_next: CallNext) -> Reply:
        kept, upstream, clock = self.kept, target.upstream, self._clock
        while True:
            view, is_shared = self._catalog.snapshot.upstreams.get(upstream), plan.is_shared or plan.is_public
            if view is None:
                return await call_next(call)
            wanted = Wanted(call, target, plan, view, kept.generation(upstream), is_shared)
            key, now = wanted.key(self._keys), clock.monotonic()
            entry = self._found(wanted, key, now)
            if entry is not None and entry.fresh_until > now:
                return self._copied(call, entry, "hit", now)
            if entry is not None and REFRESH not in call.__dict__ and self.refreshes.begin(wanted, key):
                return self._copied(call, entry, "stale", now)
            flight = kept.flights.get(key)
            if flight is None or (entry is None and PROGRESS in call.meta):
                return await self._first(wanted, key, entry, call_next)
            if entry is not None:
                return self._copied(call, entry, "stale", now)
            landed = await flight.wait()
            if isinstance(landed, Entry):
                return self._copied(call, landed, "joined", clock.monotonic())
            if landed is Alone.GO:
                self._count(call, target, "miss")
                return await call_next(call)

    async def _first(self, wanted: Wanted, key: bytes, old: Entry | None, call_next: CallNext) -> Reply:
        """Ask the upstream, for all who come meanwhile too. Who waits for a call that is given up starts anew."""
        kept, call = self.kept, wanted.call
        flight, landed = kept.flights.begin(key, call, wanted.target.upstream), Alone.GO
        try:
            if self._shared is not None and (known := await self._shared.get(wanted, key)) is not None:
                self._put(wanted, known)
                flight.land(known)
                return self._copied(call, known, "hit", self._clock.monotonic())
            reply = await call_next(call)
            flight.land(self._keep(wanted, reply))
        except asyncio.CancelledError:
            landed = Alone.AGAIN
            raise
        except UpstreamError as error:
            if isinstance(error, NOT_KEPT) or call.is_asked:
                raise
            if old is None or not self._outlives(old, wanted):
                flight.land(self._failed(wanted, key, error))
                raise
            flight.land(old)
            return self._copied(call, old, "stale", self._clock.monotonic())
        finally:
            kept.flights.end(flight, landed)
            if self._shared is not None:
                self._shared.end(wanted)
        self._count(call, wanted.target, "miss")
        return reply

    def _outlives(self, old: Entry, wanted: Wanted) -> bool:
        """Whether an old copy is better than a failure; then the upstream is not asked again at once."""
        now = self._clock.monotonic()
        if old.failure is not None or old.stale_until <= now or not self._is_current(wanted):
            return False
        old.fresh_until = min(now + self._settings.failures, old.stale_until)
        return True

    def _keep(self, wanted: Wanted, reply: Reply) -> Entry | Alone:
        """The copy, if there may be one that is for all who wait."""
        found, was_shared = wanted.freshness(reply, self._settings), wanted.is_shared
        if found is None:
            return Alone.GO
        wanted.learn(found)
        key, now = wanted.key(self._keys), self._clock.monotonic()
        entry = wanted.copied(reply, found, key, now, self._settings)
        wanted.made = entry if self._put(wanted, entry) else None
        return Alone.GO if was_shared and not wanted.is_shared else entry

    def _failed(self, wanted: Wanted, key: bytes, error: UpstreamError) -> Entry | Alone:
        if not self._settings.failures:
            return Alone.GO
        entry = wanted.failed(error, key, self._clock.monotonic(), self._settings)
        self._put(wanted, entry)
        return entry

    def _put(self, wanted: Wanted, entry: Entry) -> bool:
        """Keep it, unless it is too long, or something changed since the upstream was asked."""
        if len(entry.body) > self._settings.largest or not self._is_current(wanted):
            return False
        self.kept.entries.put(entry)
        wanted.call.__dict__[KEPT] = True
        return True

    def _is_current(self, wanted: Wanted) -> bool:
        return wanted.generation == self.kept.generation(wanted.target.upstream)

    def _found(self, wanted: Wanted, key: bytes, now: float) -> Entry | None:
        """The copy, fresh or old; one that is of no use any more goes."""
        entry = self.kept.entries.get(key)
        if entry is None or (entry.stale_until > now and entry.is_of(wanted.view.upstream, wanted.target.item)):
            return entry
        self.kept.entries.discard(entry, "expired")
        return None

    def _copied(self, call: Call, entry: Entry, outcome: Outcome, now: float) -> Reply:
        call.answered_by = self.name
        if REFRESH not in call.__dict__:
            entry.hits += 1
            self.kept.counts.add(entry.server, entry.upstream, entry.method, entry.name, outcome)
            self.told(entry.upstream, outcome)
        return entry.reply(now)

    def _count(self, call: Call, target: Target, outcome: Outcome) -> None:
        if outcome == "refresh" or REFRESH not in call.__dict__:
            self.kept.counts.add(call.server, target.upstream, call.method, target.name, outcome)
            self.told(target.upstream, outcome)
