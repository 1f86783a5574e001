"""The catalog as plugins see it: upstreams with what they offer, servers with what they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from toolway.hookspecs.definitions import ServerSettings
from toolway.hookspecs.routing import Discovery, Item, ItemKind, Upstream


class UpstreamState(Protocol):
    """An upstream with its last good discovery; `since` is when `status` began, in seconds since 1970."""

    @property
    def upstream(self) -> Upstream:
        """What is declared."""

    @property
    def discovery(self) -> Discovery | None:
        """What it offers."""

    @property
    def status(self) -> Literal["pending", "up", "down"]:
        """Whether the last discovery succeeded."""

    @property
    def error(self) -> str:
        """Why it is down; empty otherwise."""

    @property
    def since(self) -> float:
        """When `status` began."""


class ShownItem(Protocol):
    """An item as one server shows it: its exposed name (or URI, or URI template) and its list entry."""

    @property
    def item(self) -> Item:
        """As its upstream offers it."""

    @property
    def name(self) -> str:
        """As the server calls it."""

    @property
    def raw(self) -> bytes:
        """The list entry, JSON."""


class NameCollision(Protocol):
    """Items (by canonical name) of one server that want the same name."""

    @property
    def kind(self) -> ItemKind:
        """What they are."""

    @property
    def name(self) -> str:
        """The name or URI that they share."""

    @property
    def items(self) -> Sequence[str]:
        """Their canonical names."""

    @property
    def resolved(self) -> str:
        """What became of them."""


class ShownServer(Protocol):
    """A virtual server."""

    @property
    def settings(self) -> ServerSettings:
        """What is declared."""

    @property
    def collisions(self) -> Sequence[NameCollision]:
        """Whose names collide."""

    def listed(self, kind: ItemKind) -> Sequence[ShownItem]:
        """All items of a kind, sorted by exposed name."""


class CatalogSnapshot(Protocol):
    """One immutable state; `number` grows with each."""

    @property
    def number(self) -> int:
        """Which one it is."""

    @property
    def upstreams(self) -> Mapping[str, UpstreamState]:
        """By name."""

    @property
    def servers(self) -> Mapping[str, ShownServer]:
        """By name."""


class Catalog(Protocol):
    """The catalog of one gateway."""

    @property
    def snapshot(self) -> CatalogSnapshot:
        """Its present state."""

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong now, for administrators; empty when all is well."""

    async def reload(self) -> None:
        """Read everything declared anew, all parts too, and swap."""

    async def refresh(self, name: str) -> Discovery:
        """Discover an upstream now; raises NotFound, or UpstreamError when it does not answer."""
