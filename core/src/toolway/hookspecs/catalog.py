"""The catalog as plugins see it: upstreams with what they offer, servers with what they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec
from msgspec import Raw
from pydantic import TypeAdapter

from toolway.hookspecs.auth import Resource
from toolway.hookspecs.definitions import ServerSettings, UpstreamSettings
from toolway.hookspecs.routing import Desired, Discovery, Endpoint, Eras, Item, ItemKind, Target, Upstream


class UpstreamView(msgspec.Struct, frozen=True):
    """An upstream with its last good discovery. `since` is when `status` began, in seconds since 1970."""

    upstream: Upstream
    discovery: Discovery | None = None
    status: Literal["pending", "up", "down"] = "pending"
    error: str = ""
    since: float = 0.0


class Exposed(msgspec.Struct, frozen=True):
    """One item as one server shows it: its exposed name (or URI, or URI template) and the list entry with it.

    `resource` is what decisions about it are about, `own` its upstream's name for it as JSON.
    """

    item: Item
    name: str
    raw: bytes
    target: Target
    resource: Resource
    own: Raw


class Collision(msgspec.Struct, frozen=True):
    """Items of one server that want the same name, as canonical names such as `ServerA/toolX`.

    `resolved` tells what became of them: left out (`error`), prefixed (`prefix`), or listed in the gateway's own form
    (`uri`).
    """

    server: str
    kind: ItemKind
    name: str
    items: tuple[str, ...]
    resolved: Literal["error", "prefix", "uri"]


class ShownServer(Protocol):
    """A virtual server."""

    @property
    def settings(self) -> ServerSettings:
        """What is declared."""

    @property
    def collisions(self) -> Sequence[Collision]:
        """Whose names collide."""

    def listed(self, kind: ItemKind) -> Sequence[Exposed]:
        """All items of a kind, sorted by exposed name."""


class CatalogSnapshot(Protocol):
    """One immutable state; `number` grows with each."""

    @property
    def number(self) -> int:
        """Which one it is."""

    @property
    def upstreams(self) -> Mapping[str, UpstreamView]:
        """By name."""

    @property
    def servers(self) -> Mapping[str, ShownServer]:
        """By name."""


NewsListener = Callable[[str, str, str], None]
"""Hears an upstream's name, the notification's method, and for an updated resource its own URI there."""


class Definitions(Protocol):
    """Turns tables of the file and bodies of the API into settings, by the kinds and auth types that are enabled.

    All raise InvalidInput: one sentence per thing that is wrong, never with the refused value.
    """

    def settings(self, raw: Mapping[str, Any]) -> UpstreamSettings:
        """The settings of an upstream as its kind's model."""

    def server(self, raw: Mapping[str, Any]) -> ServerSettings:
        """The settings of a virtual server."""

    def schema(self, accept: Callable[[str, str], str]) -> TypeAdapter[UpstreamSettings]:
        """Validates bodies of the API.

        `accept` gets the upstream's name and each secret as it was sent, and makes the reference that is stored, or
        raises ValueError.
        """


class Catalog(Protocol):
    """The catalog of one gateway."""

    @property
    def configured(self) -> Desired:
        """What the configuration declares."""

    @property
    def snapshot(self) -> CatalogSnapshot:
        """Its present state."""

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong now, for administrators; empty when all is well."""

    def on_news(self, listener: NewsListener) -> None:
        """Call `listener` at once when an upstream says that a list changed or a resource was updated.

        Of resources only those are heard of that some client subscribed to on this node.
        """

    async def reload(self) -> None:
        """Read everything declared anew, all parts too, and swap."""

    async def probe(self, name: str, endpoint: Endpoint) -> Eras:
        """Ask an endpoint what it speaks, which shows that it is well; raises NotFound, UpstreamError."""

    async def refresh(self, name: str) -> Discovery:
        """Discover an upstream now; raises NotFound, or UpstreamError when it does not answer."""
