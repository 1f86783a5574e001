"""A call that a copy could answer, and the copy that can be made of its answer."""

from __future__ import annotations

import random

import msgspec
from msgspec import Raw

from toolway.hookspecs.catalog import UpstreamView
from toolway.hookspecs.routing import Call, Reply, Target
from toolway.plugin import UpstreamError
from toolway_cache.entries import Entry
from toolway_cache.freshness import Freshness, freshness
from toolway_cache.keys import Keys
from toolway_cache.plans import Plan
from toolway_cache.settings import CacheSettings


class Wanted(msgspec.Struct, eq=False):
    """One call; `generation` is that of its upstream when it began, `is_shared` whether everybody may have the answer.

    A shared one is the same for all because the operator says so, or because the upstream said so last. `epoch` is that
    of its upstream in the key-value store, where copies are there too; `lead` is what says so there
    while other nodes wait for this call, with its name, `made` the copy that they get.
    """

    call: Call
    target: Target
    plan: Plan
    view: UpstreamView
    generation: int
    is_shared: bool
    epoch: bytes = b""
    lead: tuple[str, bytes] | None = None
    made: Entry | None = None

    def key(self, keys: Keys) -> bytes:
        """What the copy is kept under."""
        principal = None if self.is_shared else self.call.principal
        return keys.of(self.call, self.target.upstream, principal, self.session)

    def freshness(self, reply: Reply, settings: CacheSettings) -> Freshness | None:
        """How long a copy of the reply is good; None when there must be none."""
        if self.call.is_asked:
            return None
        eras, method = self.view.discovery.eras if self.view.discovery else None, self.call.method
        is_modern = eras is not None and eras.modern is not None
        found = freshness(
            reply, self.plan, method, is_modern=is_modern, failures=settings.failures, longest=settings.longest
        )
        is_personal = found is not None and found.is_failure and self.is_shared and not self.plan.is_shared
        return None if is_personal else found

    def learn(self, found: Freshness) -> None:
        """What the upstream says of whom a resource is for holds from now on."""
        if self.call.method == "resources/read" and not (self.plan.is_shared or found.is_failure):
            self.plan.is_public = self.is_shared = found.is_public

    def copied(self, reply: Reply, found: Freshness, key: bytes, now: float, settings: CacheSettings) -> Entry:
        """A copy of the reply."""
        entry = self._entry(found, key, now, settings)
        entry.fault = reply.fault
        if reply.result is not None:
            lacks_ttl = entry.lacks_ttl = found.is_told and self.call.client.era == "modern"
            entry.body = _without_ttl(reply.result) if lacks_ttl else bytes(reply.result)
        return entry

    def failed(self, error: UpstreamError, key: bytes, now: float, settings: CacheSettings) -> Entry:
        """A copy of a failure."""
        entry = self._entry(Freshness(settings.failures, is_failure=True), key, now, settings)
        entry.failure = error
        return entry

    def stored(self, key: bytes, stored_at: float, fresh_until: float, stale_until: float) -> Entry:
        """A copy of nothing yet."""
        call, target = self.call, self.target
        return Entry(
            key=key,
            server=call.server,
            upstream=target.upstream,
            method=call.method,
            name=target.name,
            principal="" if self.is_shared else call.principal.id,
            origin=self.view.upstream,
            item=target.item,
            stored_at=stored_at,
            fresh_until=fresh_until,
            stale_until=stale_until,
        )

    def _entry(self, found: Freshness, key: bytes, now: float, settings: CacheSettings) -> Entry:
        fresh_until = now + found.ttl * random.uniform(1 - settings.jitter, 1)
        return self.stored(key, now, fresh_until, fresh_until + (0.0 if found.is_failure else settings.stale))

    @property
    def session(self) -> str:
        """The session that the answer could depend on: legacy upstreams can have one for each of the client's."""
        call, view = self.call, self.view
        if self.is_shared or not call.session or view.upstream.settings.sharing != "session":
            return ""
        eras = view.discovery.eras if view.discovery is not None else None
        return "" if eras is not None and eras.legacy is None else call.session


def _without_ttl(result: Raw) -> bytes:
    """The result, up to the place where `ttlMs` belongs."""
    fields = msgspec.json.decode(result, type=dict[str, Raw])
    fields.pop("ttlMs", None)
    encoded: bytes = msgspec.json.encode(fields)
    return encoded[:-1] + (b"," if fields else b"")
