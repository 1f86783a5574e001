"""The immutable view of the catalog that requests read: upstreams with what they offer, servers with what they show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from toolway.catalog.entries import UI, Entry, Parsed, parse, render
from toolway.catalog.naming import Collision, name_items
from toolway.catalog.patterns import Selection
from toolway.catalog.uris import Claim, UriTable
from toolway.hookspecs.definitions import ServerSettings
from toolway.hookspecs.routing import Discovery, Item, ItemKind, Target, Upstream

ITEM_KINDS: tuple[ItemKind, ...] = ("tool", "prompt", "resource", "template")


class Exposed(msgspec.Struct, frozen=True):
    """One item as one server shows it: its exposed name (or URI, or URI template) and the list entry with it."""

    item: Item
    name: str
    raw: bytes
    target: Target


class UpstreamView(msgspec.Struct, frozen=True):
    """An upstream with its last good discovery. `since` is when `status` began, in seconds since 1970."""

    upstream: Upstream
    discovery: Discovery | None = None
    status: Literal["pending", "up", "down"] = "pending"
    error: str = ""
    since: float = 0.0


class ServerView:
    """What one virtual server shows and where its names lead; immutable."""

    def __init__(self, settings: ServerSettings, offers: Mapping[str, Parsed | None]) -> None:
        """Make the view from the parsed discoveries by upstream; None where nothing was discovered yet."""
        self.settings = settings
        self._selection = Selection(settings.include, settings.exclude)
        self._offers = {name: offers[name] for name in sorted(offers) if self._selection.reaches(name)}
        selected = _selected(self._offers, self._selection)
        self._uris = UriTable(self._selection, _claims(selected), self._resource_upstreams())
        self._exposed, collisions = _expose(settings, selected, self._uris)
        self.collisions: tuple[Collision, ...] = (*collisions, *self._uris.collisions(settings.name))
        self._listed = {kind: tuple(self._exposed[kind].values()) for kind in ITEM_KINDS}
        self._by_canonical = {
            (kind, exposed.item.canonical): exposed
            for kind in ("tool", "prompt")
            for exposed in self._exposed[kind].values()
        }
        self.capabilities = _capabilities(self._offers.values())
        self.instructions = settings.instructions or _joined_instructions(self._offers.values())

    def find(self, kind: ItemKind, name: str) -> Exposed | None:
        """The item with that exposed name; tools and prompts also by canonical name `upstream/item`."""
        return self._exposed[kind].get(name) or self._by_canonical.get((kind, name))

    def listed(self, kind: ItemKind) -> tuple[Exposed, ...]:
        """All items of a kind, sorted by exposed name."""
        return self._listed[kind]

    def resolve_uri(self, uri: str) -> Target:
        """Where a resource URI leads (architecture, "The way back"); raises UnknownUri."""
        return self._uris.resolve(uri)

    def upstreams(self) -> tuple[str, ...]:
        """The upstreams of which this server shows items, or would if they had some."""
        return tuple(self._offers)

    def is_made_of(self, settings: ServerSettings, offers: Mapping[str, Parsed | None]) -> bool:
        """Whether building it anew from these would give the same."""
        if settings != self.settings:
            return False
        reached = [name for name in sorted(offers) if self._selection.reaches(name)]
        return reached == list(self._offers) and all(offers[name] is self._offers[name] for name in reached)

    def _resource_upstreams(self) -> tuple[str, ...]:
        return tuple(name for name, parsed in self._offers.items() if parsed and "resources" in _offered(parsed))


class Snapshot(msgspec.Struct, frozen=True, eq=False):
    """One state of the catalog; `number` grows with each. `parsed` is kept so that the next one can reuse it."""

    number: int
    upstreams: dict[str, UpstreamView]
    servers: dict[str, ServerView]
    problems: tuple[str, ...] = ()
    parsed: dict[str, Parsed | None] = {}


EMPTY = Snapshot(0, {}, {})


def build_snapshot(
    number: int, upstreams: Sequence[UpstreamView], servers: Sequence[ServerSettings], previous: Snapshot | None
) -> Snapshot:
    """Make the snapshot; what did not change is taken over from `previous`."""
    previous = previous or EMPTY
    views = {view.upstream.name: view for view in upstreams}
    parsed = {name: _parsed(view, previous) for name, view in views.items() if view.upstream.settings.enabled}
    problems = tuple(problem for offer in parsed.values() if offer for problem in offer.problems)
    return Snapshot(number, views, _server_views(servers, parsed, previous), problems, parsed)


def _parsed(view: UpstreamView, previous: Snapshot) -> Parsed | None:
    if view.discovery is None:
        return None
    known = previous.parsed.get(view.upstream.name)
    return known if known and known.discovery is view.discovery else parse(view.discovery)


def _server_views(
    servers: Sequence[ServerSettings], offers: Mapping[str, Parsed | None], previous: Snapshot
) -> dict[str, ServerView]:
    views = {}
    for settings in servers:
        known = previous.servers.get(settings.name)
        unchanged = known is not None and known.is_made_of(settings, offers)
        views[settings.name] = known if known and unchanged else ServerView(settings, offers)
    return views


def _selected(offers: Mapping[str, Parsed | None], selection: Selection) -> dict[ItemKind, dict[str, Entry]]:
    """The included entries by kind and canonical name."""
    selected: dict[ItemKind, dict[str, Entry]] = {kind: {} for kind in ITEM_KINDS}
    for parsed in offers.values():
        for entry in parsed.entries if parsed else ():
            if selection.selects(entry.item.canonical):
                selected[entry.item.kind][entry.item.canonical] = entry
    return selected


def _claims(selected: Mapping[ItemKind, Mapping[str, Entry]]) -> list[Claim]:
    """Which URI and URI template belongs to which upstream; UI resources of tools need not be listed."""
    claims = [
        Claim(kind, entry.item.upstream, entry.item.name, entry.item)
        for kind in ("resource", "template")
        for entry in selected[kind].values()
    ]
    tools = selected["tool"].values()
    return claims + [Claim("resource", entry.item.upstream, entry.ui) for entry in tools if entry.ui]


def _expose(
    settings: ServerSettings, selected: Mapping[ItemKind, Mapping[str, Entry]], uris: UriTable
) -> tuple[dict[ItemKind, dict[str, Exposed]], list[Collision]]:
    """Name and render everything selected, sorted by exposed name."""
    exposed: dict[ItemKind, dict[str, Exposed]] = {}
    collisions: list[Collision] = []
    for kind in ITEM_KINDS:
        entries = selected[kind]
        if kind in ("tool", "prompt"):
            names, clashes = name_items(settings, kind, entries)
            collisions += clashes
        else:
            names = {key: uris.exposed(kind, entry.item.upstream, entry.item.name) for key, entry in entries.items()}
        ordered = sorted(names.items(), key=lambda pair: pair[1])
        exposed[kind] = {name: _exposed(settings, entries[key], name, uris) for key, name in ordered}
    return exposed, collisions


def _exposed(settings: ServerSettings, entry: Entry, name: str, uris: UriTable) -> Exposed:
    item = entry.item
    override = settings.items.get(item.canonical)
    ui = uris.exposed("resource", item.upstream, entry.ui) if entry.ui else ""
    fixed = override.arguments if override and item.kind == "tool" else {}
    return Exposed(item, name, render(entry, name, override, ui), Target(item.upstream, item.name, item, fixed))


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


def _joined_instructions(offers: Iterable[Parsed | None]) -> str | None:
    texts = (parsed.discovery.instructions for parsed in offers if parsed)
    return "\n\n".join(text for text in texts if text) or None
