"""Who wants to hear what: changed lists from snapshot swaps, updated resources from the legs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping

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
        """Report changed lists to this listener."""
        listener.wants = wants
        self.listeners.add(listener)

    async def remove(self, listener: Listener) -> None:
        """Stop reporting."""
        self.listeners.discard(listener)
        await self.watch(listener, frozenset())

    async def watch(self, listener: Listener, uris: frozenset[str]) -> frozenset[str]:
        """Replace the resource URIs that the listener hears of; returns those that are in force.

        Raises:
            InvalidInput: too many URIs.
        """
        if len(uris) > MOST_URIS:
            raise InvalidInput(f"at most {MOST_URIS} resources can be subscribed to; this would be {len(uris)}")
        view = self.snapshot().servers.get(listener.server)
        listener.uris = uris
        listener.exposed = self._resolve(view, listener) if view is not None else {}
        before, listener.legs = listener.legs, []
        in_force: set[str] = set()
        for name in dict.fromkeys(upstream for upstream, _ in listener.exposed):
            own = {uri: exposed for (upstream, uri), exposed in listener.exposed.items() if upstream == name}
            if await self._want(listener, name, frozenset(own)):
                in_force.update(own.values())
        for held in before:
            if held not in listener.legs:
                await held.want(listener, frozenset())
        return frozenset(in_force)

    def swapped(self, old: Snapshot, new: Snapshot) -> None:
        """Tell listeners whose lists changed; watch again what may be elsewhere now."""
        known: dict[tuple[str, str, str], bool] = {}
        for listener in list(self.listeners):
            visibility = self.lists.access.visibility(listener.principal, listener.server)
            for kind in KINDS:
                key = (listener.server, visibility, kind)
                if getattr(listener.wants, kind):
                    if key not in known:
                        known[key] = self._entries(old, listener, kind) != self._entries(new, listener, kind)
                    if known[key]:
                        listener.changed(kind)
            if listener.uris:
                self.background.start(self.watch(listener, listener.uris), "watching resources again")

    def _entries(self, snapshot: Snapshot, listener: Listener, kind: str) -> list[bytes]:
        view = snapshot.servers.get(listener.server)
        if view is None:
            return []
        return [entry.raw for item in KINDS[kind] for entry in self.lists.visible(view, item, listener.principal)]

    def _resolve(self, view: ServerView, listener: Listener) -> dict[Uri, str]:
        found = {}
        for uri in listener.uris:
            try:
                target = view.resolve_uri(uri)
            except UnknownUri:
                continue
            if self.lists.may_use(view, "resource", f"{target.upstream}/{target.name}", listener.principal):
                found[target.upstream, target.name] = uri
        return found

    async def _want(self, listener: Listener, upstream: str, uris: frozenset[str]) -> bool:
        view = self.snapshot().upstreams.get(upstream)
        if view is None or view.discovery is None or not view.upstream.endpoints:
            return False
        key = self.legs.key(view, listener)
        endpoint = self.legs.bound_endpoint(key) or view.upstream.endpoints[0]
        held = self.legs.get(key, view, endpoint, listener)
        listener.legs.append(held)
        return await held.want(listener, uris)
