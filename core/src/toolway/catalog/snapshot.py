"""The immutable view of the catalog that requests read: upstreams with what they offer, servers with what they show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Raw

from toolway.catalog.entries import UI, Entry, Parsed, parse, render
from toolway.catalog.naming import name_items
from toolway.catalog.patterns import Selection
from toolway.catalog.uris import UriTable
from toolway.hookspecs.auth import Resource
from toolway.hookspecs.catalog import Collision, Exposed, UpstreamView
from toolway.hookspecs.definitions import ServerSettings, Visibility
from toolway.hookspecs.routing import ItemKind, Target

ITEM_KINDS: tuple[ItemKind, ...] = ("tool", "prompt", "resource", "template")

Offers = Mapping[str, Parsed | None]
"""Parsed discoveries by upstream; None where nothing was discovered yet."""

Owners = Mapping[str, tuple[str, Visibility]]
"""Owner and visibility of each upstream."""


class ServerView:
    """What one virtual server shows and where its names lead; immutable."""

    def __init__(self, settings: ServerSettings, offers: Offers, owners: Owners = MappingProxyType({})) -> None:
        self.settings = settings
        self.resource = Resource(settings.name, settings.name, settings.access, settings.owner, settings.visibility)
        self._selection = Selection(settings.include, settings.exclude, _by_name(settings, owners))
        self._offers = self._reached(offers, owners)
        self._owners = {name: owners[name] for name in self._offers if name in owners}
        self.is_for_all = all(visibility == "public" for _, visibility in self._owners.values())
        known = {name: parsed for name, parsed in self._offers.items() if parsed}
        self.capabilities = _capabilities(self._offers.values())
        said = {name: parsed.discovery.instructions for name, parsed in known.items()}
        self.instructions = {name: text for name, text in said.items() if text}
        with_resources = (name for name, parsed in known.items() if "resources" in _offered(parsed))
        self._uris = UriTable(self._selection, with_resources)
        self._listed: dict[ItemKind, tuple[Exposed, ...]] = {}
        self.found: dict[ItemKind, dict[str, Exposed]] = {}
        self.collisions: tuple[Collision, ...] = ()
        for kind, entries in self._selected(known.values()).items():
            self._expose(kind, entries)
        self.collisions += tuple(self._uris.collisions(settings.name))

    def find(self, kind: ItemKind, name: str) -> Exposed | None:
        """The item with that exposed name; tools and prompts also by canonical name `upstream/item`."""
        return self.found[kind].get(name)

    def listed(self, kind: ItemKind) -> tuple[Exposed, ...]:
        """All items of a kind, sorted by exposed name."""
        return self._listed[kind]

    def resolve_uri(self, uri: str) -> Target:
        """Where a resource URI leads (architecture, "The way back"); raises UnknownUri."""
        return self._uris.resolve(uri)

    def about(self, upstream: str, canonical: str) -> Resource:
        """What decisions about an item of the upstream on this server are about, listed or not."""
        owner, visibility = self._owners.get(upstream, ("", "public"))
        return Resource(canonical, self.settings.name, self.settings.access, owner, visibility)

    def upstreams(self) -> tuple[str, ...]:
        """The upstreams of which this server shows items, or would if they had some."""
        return tuple(self._offers)

    def is_made_of(self, settings: ServerSettings, offers: Offers, owners: Owners) -> bool:
        """Whether building it anew from these would give the same."""
        is_owned = all(owners.get(name) == owner for name, owner in self._owners.items())
        return settings == self.settings and is_owned and self._reached(offers, owners) == self._offers

    def _reached(self, offers: Offers, owners: Owners) -> Offers:
        by_name, reaches = _by_name(self.settings, owners), self._selection.reaches
        return {name: offers[name] for name in sorted(offers) if reaches(name, by_name=name in by_name)}

    def _selected(self, known: Iterable[Parsed]) -> dict[ItemKind, dict[str, Entry]]:
        """The included entries by kind and canonical name; claims their URIs, and those of tools' UI resources."""
        selected: dict[ItemKind, dict[str, Entry]] = {kind: {} for kind in ITEM_KINDS}
        for entry in (entry for parsed in known for entry in parsed.entries):
            item = entry.item
            if self._selection.selects(item.canonical):
                selected[item.kind][item.canonical] = entry
                if item.kind in ("resource", "template"):
                    self._uris.claim(item.kind, item.upstream, item.name, item)
                elif entry.ui:
                    self._uris.claim("resource", item.upstream, entry.ui)
        return selected

    def _expose(self, kind: ItemKind, entries: Mapping[str, Entry]) -> None:
        """Name and render them, sorted by exposed name."""
        if kind in ("tool", "prompt"):
            names, collisions = name_items(self.settings, kind, entries)
            self.collisions += tuple(collisions)
        else:
            items = {key: entry.item for key, entry in entries.items()}
            names = {key: self._uris.exposed(kind, item.upstream, item.name) for key, item in items.items()}
        exposed = {key: self._exposed(entries[key], names[key]) for key in sorted(names, key=names.__getitem__)}
        self._listed[kind] = tuple(exposed.values())
        by_canonical = exposed if kind in ("tool", "prompt") else {}
        self.found[kind] = {**by_canonical, **{one.name: one for one in exposed.values()}}

    def _exposed(self, entry: Entry, name: str) -> Exposed:
        item = entry.item
        override = self.settings.items.get(item.canonical)
        ui = self._uris.exposed("resource", item.upstream, entry.ui) if entry.ui else ""
        fixed = override.arguments if override and item.kind == "tool" else {}
        target = Target(item.upstream, item.name, item, fixed)
        resource = self.about(item.upstream, item.canonical)
        own = Raw(msgspec.json.encode(item.name))
        return Exposed(item, name, render(entry, name, override, ui), target, resource, own)


class Snapshot(msgspec.Struct, frozen=True, eq=False):
    """One state of the catalog; `number` grows with each. `parsed` is kept so that the next one can reuse it.

    `parts` are the values of the other snapshot parts, swapped together with it.
    """

    number: int
    upstreams: dict[str, UpstreamView]
    servers: dict[str, ServerView]
    problems: tuple[str, ...] = ()
    parsed: dict[str, Parsed | None] = {}
    parts: Mapping[str, Any] = {}


EMPTY = Snapshot(0, {}, {})


def build_snapshot(
    number: int,
    upstreams: Iterable[UpstreamView],
    servers: Iterable[ServerSettings],
    previous: Snapshot = EMPTY,
    parts: Mapping[str, Any] = MappingProxyType({}),
) -> Snapshot:
    """Make the snapshot; what did not change is taken over from `previous`."""
    views = {view.upstream.name: view for view in upstreams}
    parsed = {name: _parsed(view, previous) for name, view in views.items() if view.upstream.settings.enabled}
    problems = tuple(f"upstream {name!r}: {each}" for name, offer in parsed.items() if offer for each in offer.problems)
    owners = {name: (its.owner, its.visibility) for name, view in views.items() for its in [view.upstream.settings]}
    shown = {settings.name: _server_view(settings, parsed, owners, previous) for settings in servers}
    return Snapshot(number, views, shown, problems, parsed, parts)


def _by_name(settings: ServerSettings, owners: Owners) -> set[str]:
    """The upstreams that join the server only if it names them: what is not for all takes no names or URIs from others.

    With upstreams of its own owner a server is among itself.
    """
    return {name for name, (owner, seen) in owners.items() if seen != "public" and owner != (settings.owner or None)}


def _parsed(view: UpstreamView, previous: Snapshot) -> Parsed | None:
    if view.discovery is None:
        return None
    known = previous.parsed.get(view.upstream.name)
    return known if known and known.discovery is view.discovery else parse(view.discovery)


def _server_view(settings: ServerSettings, offers: Offers, owners: Owners, previous: Snapshot) -> ServerView:
    known = previous.servers.get(settings.name)
    return known if known and known.is_made_of(settings, offers, owners) else ServerView(settings, offers, owners)


def _offered(parsed: Parsed) -> dict[str, Any]:
    """Declared capabilities, and those that its items prove."""
    kinds = {entry.item.kind for entry in parsed.entries}
    proven: dict[str, Any] = {"resources" if kind == "template" else f"{kind}s": {} for kind in kinds}
    return {**proven, **parsed.discovery.capabilities}


def _capabilities(offers: Iterable[Parsed | None]) -> dict[str, Any]:
    """The union of what upstreams offer and the gateway bridges.

    Lists change whenever the catalog does, so `listChanged` is always true. An upstream that was not discovered yet
    may offer anything: a client that connects meanwhile would otherwise never ask.
    """
    union: dict[str, Any] = {"tools": {"listChanged": True}}
    for parsed in offers:
        offered = _offered(parsed) if parsed else {"prompts": {}, "resources": {}}
        for name in offered.keys() & {"prompts", "resources"}:
            union.setdefault(name, {"listChanged": True})
        if isinstance(resources := offered.get("resources"), dict) and resources.get("subscribe"):
            union["resources"]["subscribe"] = True
        union.update({name: {} for name in offered.keys() & {"completions", "logging"}})
        if isinstance(extensions := offered.get("extensions"), dict) and UI in extensions:
            union.setdefault("extensions", {UI: extensions[UI]})
    return dict(sorted(union.items()))
