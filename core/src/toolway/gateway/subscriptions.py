"""Who wants to hear what: changed lists from snapshot swaps, updated resources from the legs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from hashlib import blake2b
from itertools import compress

import msgspec
from msgspec import Raw

from toolway.background import Background
from toolway.catalog.snapshot import ServerView, Snapshot
from toolway.catalog.uris import UnknownUri
from toolway.errors import InvalidInput
from toolway.gateway.legs import HeldLeg, Legs
from toolway.gateway.lists import Lists
from toolway.gateway.sessions import ClientSession
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.routing import ClientProfile, ItemKind, Wants

COALESCE_SECONDS = 1.0
MOST_URIS = 1_000
KINDS: dict[str, tuple[ItemKind, ...]] = {
    "tools": ("tool",),
    "prompts": ("prompt",),
    "resources": ("resource", "template"),
}
Uri = tuple[str, str]


class Listener(msgspec.Struct, eq=False):
    """One client that listens: a modern `subscriptions/listen` stream or a legacy session."""

    server: str
    principal: Principal
    client: ClientProfile
    emit: Callable[[str, Mapping[str, Raw]], None]
    session: ClientSession | None = None
    wants: Wants = Wants()
    uris: frozenset[str] = frozenset()
    exposed: dict[Uri, str] = {}
    legs: list[HeldLeg] = []
    seen: dict[str, bytes] = {}
    due: set[str] = set()
    quiet_until: float = 0.0

    def changed(self, kind: str) -> None:
        """A list changed: tell at once, then at most once a second."""
        loop = asyncio.get_running_loop()
        if not self.due:
            loop.call_at(max(loop.time() + random.uniform(0, 0.1), self.quiet_until), self._flush)
        self.due.add(kind)

    def updated(self, upstream: str, uri: str) -> None:
        """A resource changed; the client hears the URI that it knows."""
        exposed = self.exposed.get((upstream, uri))
        if exposed is not None:
            self.emit("notifications/resources/updated", {"uri": Raw(msgspec.json.encode(exposed))})

    def _flush(self) -> None:
        self.quiet_until = asyncio.get_running_loop().time() + COALESCE_SECONDS
        due, self.due = sorted(self.due), set()
        for kind in due:
            self.emit(f"notifications/{kind}/list_changed", {})


class Hub(msgspec.Struct, eq=False):
    """All listeners of this node."""

    legs: Legs
    lists: Lists
    snapshot: Callable[[], Snapshot]
    listeners: set[Listener] = set()
    background: Background = msgspec.field(default_factory=Background)

    def add(self, listener: Listener, wants: Wants) -> None:
        """Report lists that change from now on to this listener."""
        listener.wants = wants
        listener.seen = self._lists_of(listener, {})
        self.listeners.add(listener)

    async def remove(self, listener: Listener) -> None:
        """Stop reporting."""
        self.listeners.discard(listener)
        await self.watch(listener, frozenset())

    async def watch(self, listener: Listener, uris: frozenset[str] | None = None) -> frozenset[str]:
        """Replace the resource URIs that the listener hears of, or watch them again; returns those that are in force.

        Raises:
            InvalidInput: too many URIs.
        """
        uris = listener.uris if uris is None else uris
        if len(uris) > MOST_URIS:
            raise InvalidInput(f"at most {MOST_URIS} resources can be subscribed to; this would be {len(uris)}")
        view = self.snapshot().servers.get(listener.server)
        listener.uris = uris
        listener.exposed = self._resolve(view, listener) if view is not None else {}
        before, listener.legs = listener.legs, []
        own: dict[HeldLeg, dict[str, str]] = {}
        try:
            for (upstream, uri), exposed in listener.exposed.items():
                if (held := self._leg(listener, upstream)) is not None:
                    own.setdefault(held, {})[uri] = exposed
            listener.legs += own
            agreed = await asyncio.gather(*(held.want(listener, frozenset(each)) for held, each in own.items()))
            over = [held for held in before if held not in listener.legs]
            await asyncio.gather(*(held.want(listener, frozenset()) for held in over))
        except BaseException:
            listener.legs += before  # perhaps not called off yet, which the next watch does then
            raise
        return frozenset[str]().union(*(each.values() for each in compress(own.values(), agreed)))

    def swapped(self, old: Snapshot, new: Snapshot) -> None:
        """Tell listeners whose lists changed, by what is offered or by what they may use; watch again what moved."""
        known: dict[tuple[str, str, str], bytes] = {}
        for listener in list(self.listeners):
            before, listener.seen = listener.seen, self._lists_of(listener, known)
            for kind, digest in listener.seen.items():
                if before.get(kind) != digest:
                    listener.changed(kind)
            if listener.uris:
                self.background.start(self.watch(listener), "watching resources again")

    def _lists_of(self, listener: Listener, known: dict[tuple[str, str, str], bytes]) -> dict[str, bytes]:
        """A digest of each list that the listener wants to hear of, as it sees it; `known` are those of others."""
        view = self.snapshot().servers.get(listener.server)
        if view is None:
            return {}
        visibility = self.lists.visibility(view, listener.principal)
        wanted = [kind for kind in KINDS if getattr(listener.wants, kind)]
        for kind in wanted:
            if (key := (listener.server, visibility, kind)) not in known:
                known[key] = self._digest(view, listener.principal, kind)
        return {kind: known[listener.server, visibility, kind] for kind in wanted}

    def _digest(self, view: ServerView, principal: Principal, kind: str) -> bytes:
        digest = blake2b(digest_size=16)
        for entry in (entry for item in KINDS[kind] for entry in self.lists.visible(view, item, principal)):
            digest.update(b"%d\n%b" % (len(entry.raw), entry.raw))
        return digest.digest()

    def _resolve(self, view: ServerView, listener: Listener) -> dict[Uri, str]:
        found = {}
        for uri in listener.uris:
            try:
                target = view.resolve_uri(uri)
            except UnknownUri:
                continue
            if self.lists.may_use(view, "resource", target.upstream, target.name, listener.principal):
                found[target.upstream, target.name] = uri
        return found

    def _leg(self, listener: Listener, upstream: str) -> HeldLeg | None:
        view = self.snapshot().upstreams.get(upstream)
        if view is None or view.discovery is None or not view.upstream.endpoints:
            return None
        key = self.legs.key(view, listener)
        endpoint = self.legs.bound_endpoint(key) or view.upstream.endpoints[0]
        return self.legs.get(key, view, endpoint, listener)
