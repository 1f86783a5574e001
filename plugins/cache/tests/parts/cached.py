"""Calls as the middleware sees them, and a cache without a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Any

import msgspec
from msgspec import Raw

from toolway.hookspecs.auth import Principal
from toolway.hookspecs.catalog import UpstreamView
from toolway.hookspecs.definitions import UpstreamSettings
from toolway.hookspecs.routing import (
    Call,
    ClientProfile,
    Discovery,
    Endpoint,
    Eras,
    Item,
    Reply,
    Target,
    Upstream,
)
from toolway_cache.cache import Cache
from toolway_cache.refreshing import REFRESH
from toolway_cache.settings import CacheSettings
from toolway_testing.clock import MovedClock

MODERN = ClientProfile("2026-07-28")
LEGACY = ClientProfile("2025-11-25")
READS = {"annotations": {"readOnlyHint": True}}
KINDS: dict[str, Any] = {"tools/call": "tool", "resources/read": "resource", "prompts/get": "prompt"}


class Silent:
    """A peer whom nobody talks to."""

    def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        raise NotImplementedError

    async def ask(self, method: str, params: Raw) -> Raw:
        raise NotImplementedError


def view(name: str = "up", *, eras: Eras | None = None, **settings: Any) -> UpstreamView:
    """An upstream, a modern one if nothing else is said."""
    upstream = Upstream(name, "http", UpstreamSettings(name=name, kind="http", **settings), (Endpoint("local"),))
    return UpstreamView(upstream, Discovery(eras or Eras(modern="2026-07-28")), "up")


class Items:
    """The items that calls are made of; each is the same object every time, as in a catalog."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], Item] = {}

    def target(self, name: str, kind: str = "tool", raw: Mapping[str, Any] = READS) -> Target:
        """Where a call of `upstream/item` leads."""
        upstream, _, own = name.partition("/")
        encoded = msgspec.json.encode({"name": own, **raw})
        item = self._known.setdefault((kind, name, encoded.decode()), Item(upstream, kind, own, encoded))  # type: ignore[arg-type]
        return Target(upstream, own, item)


ITEMS = Items()


def call(
    name: str = "up/look",
    who: str = "user:alice",
    *,
    method: str = "tools/call",
    raw: Mapping[str, Any] = READS,
    arguments: Mapping[str, Any] | None = None,
    **facts: Any,
) -> Call:
    """A call; `facts` are further members of it, `scopes` and `single_use` of its principal."""
    mine = {key: facts.pop(key) for key in ("scopes", "single_use", "credential") if key in facts}
    params = {"name": Raw(msgspec.json.encode(name)), "arguments": Raw(msgspec.json.encode(arguments or {}))}
    rest: dict[str, Any] = {
        "params": {**params, **facts.pop("params", {})},
        "meta": {},
        "server": "all",
        "client": MODERN,
        "peer": Silent(),
        "deadline": 0.0,
        "target": ITEMS.target(name, KINDS[method], raw),
        **facts,
    }
    return Call(method=method, principal=Principal(who, **mine), **rest)


class Answering:
    """An upstream that answers as it is told, and counts."""

    def __init__(self) -> None:
        self.calls = 0
        self.result: Any = None
        self.go: asyncio.Event | None = None
        self.instead: Callable[[Call], Awaitable[Reply]] | None = None

    async def __call__(self, one: Call) -> Reply:
        """The next link of the chain."""
        self.calls += 1
        number = self.calls
        if self.go is not None:
            await self.go.wait()
        if self.instead is not None:
            return await self.instead(one)
        return result({"number": number, **(self.result or {})})


def result(value: Mapping[str, Any]) -> Reply:
    """A reply with this result."""
    return Reply(Raw(msgspec.json.encode(value)))


def read(reply: Reply) -> Any:
    """What a result says."""
    return msgspec.json.decode(reply.result or Raw(b"null"))


class Catalog:
    """The upstreams that there are."""

    def __init__(self, *views: UpstreamView) -> None:
        self.snapshot = SimpleNamespace(upstreams={each.upstream.name: each for each in views})


def cache(
    *views: UpstreamView, clock: MovedClock | None = None, upstream: Answering | None = None, **settings: Any
) -> Cache:
    """A cache in front of the upstream `up`, or of these; with an `upstream` it renews old copies by itself."""
    facts: dict[str, Any] = {"clock": clock or MovedClock(), "catalog": Catalog(*(views or (view(),)))}

    async def again(one: Call) -> Reply:
        """Leads where the gateway would lead it."""
        assert upstream is not None
        target = one.target = one.__dict__[REFRESH]
        name = Raw(msgspec.json.encode(f"{target.upstream}/{target.name}"))
        one.params = {"name": name, "arguments": one.params["arguments"]}
        return await made(one, upstream)

    kernel: Any = SimpleNamespace(**facts, phase="serving", call=again)
    own = {} if upstream is not None else {"refreshes": 0}
    made = Cache(kernel, CacheSettings.model_validate({"jitter": 0, **own, **settings}))
    return made


async def numbers(kept: Cache, upstream: Answering, *calls: Call) -> list[int]:
    """Which of the upstream's answers each call got, one after the other."""
    return [read(await kept(each, upstream))["number"] for each in calls]
