"""Who wants to hear what: changed lists from snapshot swaps, updated resources from the legs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from toolway.catalog.uris import UnknownUri
from toolway.hookspecs.routing import ItemKind, Wants

if TYPE_CHECKING:
    from toolway.catalog.snapshot import ServerView, Snapshot
    from toolway.gateway.legs import HeldLeg, Legs
    from toolway.gateway.lists import Lists
    from toolway.gateway.sessions import ClientSession
    from toolway.hookspecs.auth import Principal
    from toolway.hookspecs.routing import ClientProfile

COALESCE_SECONDS = 1.0
KINDS: dict[str, tuple[ItemKind, ...]] = {
    "tools": ("tool",),
    "prompts": ("prompt",),
    "resources": ("resource", "template"),
}


class Listener:
    """One client that listens: a modern `subscriptions/listen` stream or a legacy session."""

    def __init__(
        self,
        server: str,
        principal: Principal,
        client: ClientProfile,
        emit: Callable[[str, Mapping[str, Raw]], None],
        session: ClientSession | None = None,
    ) -> None:
        self.server = server
        self.principal = principal
        self.client = client
        self.session = session
        self.wants = Wants()
        self.exposed: dict[tuple[str, str], str] = {}
        self.legs: list[HeldLeg] = []
        self.emit = emit
        self._due: set[str] = set()
        self._quiet_until = 0.0

    def changed(self, kind: str) -> None:
        """A list changed: tell at once, then at most once a second."""
        loop = asyncio.get_running_loop()
        if not self._due:
            loop.call_at(max(loop.time() + random.uniform(0, 0.1), self._quiet_until), self._flush)
        self._due.add(kind)

    def updated(self, upstream: str, uri: str) -> None:
        """A resource changed; the client hears the URI that it knows."""
        exposed = self.exposed.get((upstream, uri))
        if exposed is not None:
            self.emit("notifications/resources/updated", {"uri": Raw(msgspec.json.encode(exposed))})

    def _flush(self) -> None:
        self._quiet_until = asyncio.get_running_loop().time() + COALESCE_SECONDS
        due, self._due = sorted(self._due), set()
        for kind in due:
            self.emit(f"notifications/{kind}/list_changed", {})


class Hub:
    """All listeners of this node."""

    def __init__(self, legs: Legs, lists: Lists, snapshot: Callable[[], Snapshot]) -> None:
        self._legs = legs
        self._lists = lists
        self._snapshot = snapshot
        self._listeners: set[Listener] = set()

    def add(self, listener: Listener, wants: Wants) -> None:
        """Report changed lists to this listener."""
        listener.wants = wants
        self._listeners.add(listener)

    async def remove(self, listener: Listener) -> None:
        """Stop reporting."""
        self._listeners.discard(listener)
        await self.watch(listener, frozenset())

    async def watch(self, listener: Listener, uris: frozenset[str]) -> frozenset[str]:
        """Replace the resource URIs that the listener hears of; returns those that an upstream could be found for."""
        view = self._snapshot().servers.get(listener.server)
        wanted = self._resolve(view, listener, uris) if view is not None else {}
        listener.exposed = wanted
        before, listener.legs = listener.legs, []
        by_upstream: dict[str, set[str]] = {}
        for upstream, uri in wanted:
            by_upstream.setdefault(upstream, set()).add(uri)
        for name, own in by_upstream.items():
            held = self._leg(listener, name)
            if held is not None:
                listener.legs.append(held)
                await held.want(listener, frozenset(own))
        for held in before:
            if held not in listener.legs:
                await held.want(listener, frozenset())
        return frozenset(wanted.values())

    def swapped(self, old: Snapshot, new: Snapshot) -> None:
        """Tell listeners whose lists changed."""
        changes: dict[tuple[str, str], bool] = {}
        for listener in list(self._listeners):
            for kind in KINDS:
                if getattr(listener.wants, kind) and self._changed(changes, listener, kind, old, new):
                    listener.changed(kind)

    def _changed(
        self, known: dict[tuple[str, str], bool], listener: Listener, kind: str, old: Snapshot, new: Snapshot
    ) -> bool:
        before, after = old.servers.get(listener.server), new.servers.get(listener.server)
        key = (listener.server, kind)
        if key not in known:
            known[key] = any(_bytes(before, item) != _bytes(after, item) for item in KINDS[kind])
        if not known[key] or before is None or after is None:
            return known[key]
        return any(
            [i.raw for i in self._lists.visible(before, item, listener.principal)]
            != [i.raw for i in self._lists.visible(after, item, listener.principal)]
            for item in KINDS[kind]
        )

    def _resolve(self, view: ServerView, listener: Listener, uris: frozenset[str]) -> dict[tuple[str, str], str]:
        found = {}
        for uri in uris:
            try:
                target = view.resolve_uri(uri)
            except UnknownUri:
                continue
            if self._lists.may_use(view, "resource", f"{target.upstream}/{target.name}", listener.principal):
                found[target.upstream, target.name] = uri
        return found

    def _leg(self, listener: Listener, upstream_name: str) -> HeldLeg | None:
        view = self._snapshot().upstreams[upstream_name]
        if view.discovery is None or not view.upstream.endpoints:
            return None
        eras = view.discovery.eras
        both = eras.modern and eras.legacy
        era = listener.client.era if both else ("modern" if eras.modern else "legacy")
        endpoint = view.upstream.endpoints[0]
        return self._legs.get(view.upstream, endpoint, era, listener.principal, listener.client, listener.session)


def _bytes(view: ServerView | None, kind: ItemKind) -> list[bytes]:
    return [item.raw for item in view.listed(kind)] if view is not None else []
