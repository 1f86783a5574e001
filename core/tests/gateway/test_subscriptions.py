"""Who hears of which resources, when their upstreams take their time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import cast

import msgspec
import pytest
from msgspec import Raw

from toolway.catalog.snapshot import Snapshot, build_snapshot
from toolway.gateway.access import Access
from toolway.gateway.legs import Legs
from toolway.gateway.lists import Lists
from toolway.gateway.subscriptions import Hub, Listener
from toolway.hookspecs.auth import ANONYMOUS, Decision, Principal, Resource
from toolway.hookspecs.catalog import UpstreamView
from toolway.hookspecs.definitions import ServerSettings, UpstreamSettings
from toolway.hookspecs.routing import (
    ClientProfile,
    Discovery,
    Endpoint,
    Eras,
    Item,
    Leg,
    Reply,
    Upstream,
    UpstreamKind,
    UpstreamRequest,
    Wants,
)
from toolway.keyring import KeyRing
from toolway_testing.clock import MovedClock

NAMES = ("a", "b", "c")
ALL = frozenset(f"{name}://1" for name in NAMES)
CLIENT = ClientProfile("2026-07-28", {}, {})


class Everybody:
    """Allows everything."""

    name = "everybody"
    complete = True

    def decide(self, principal: Principal, action: str, resource: Resource) -> Decision:
        return Decision.ALLOW

    def visibility(self, principal: Principal, server: str) -> str:
        return ""


class Connection:
    """Agrees to what is wanted when its kind says so."""

    def __init__(self, name: str, kind: Kind) -> None:
        self._name, self._kind = name, kind
        self.wanted = frozenset[str]()

    async def watch(self, wants: Wants) -> None:
        await self._kind.agree(self._name, wants.uris)
        self.wanted = wants.uris

    async def request(self, request: UpstreamRequest) -> Reply:
        return Reply()

    async def discover(self) -> Discovery:
        return Discovery(Eras(legacy="2025-11-25"))

    async def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """Nothing is told."""

    async def close(self) -> None:
        """There is nothing to close."""


class Kind:
    """Keeps its connections, by upstream."""

    def __init__(self) -> None:
        self.connections: dict[str, Connection] = {}
        self.agree: Callable[[str, frozenset[str]], Awaitable[object]] = at_once

    def connect(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> Connection:
        return self.connections.setdefault(upstream.name, Connection(upstream.name, self))


async def at_once(name: str, uris: frozenset[str]) -> None:
    """Agree."""


def snapshot() -> Snapshot:
    """Three upstreams of the handshake era with a resource each."""
    views = []
    for name in NAMES:
        upstream = Upstream(name, "slow", UpstreamSettings(name=name, kind="slow"), (Endpoint(f"http://{name}/"),))
        uri = f"{name}://1"
        item = Item(name, "resource", uri, msgspec.json.encode({"uri": uri, "name": name}))
        views.append(UpstreamView(upstream, Discovery(Eras(legacy="2025-11-25"), {}, {}, "", (item,)), "up"))
    return build_snapshot(1, views, [ServerSettings(name="s")])


@pytest.fixture
def kind() -> Kind:
    return Kind()


@pytest.fixture
def hub(kind: Kind) -> Hub:
    clock, serving = MovedClock(), snapshot()
    lists = Lists(Access([], [Everybody()], clock), KeyRing([(os.urandom(6), os.urandom(32))]), 10)
    return Hub(Legs(clock, kinds={"slow": cast("UpstreamKind", kind)}), lists, lambda: serving)


@pytest.fixture
def listener() -> Listener:
    return Listener("s", ANONYMOUS, CLIENT, lambda *event: None)


def wanted(kind: Kind) -> dict[str, frozenset[str]]:
    """What each upstream was asked for and not asked to forget."""
    return {name: each.wanted for name, each in kind.connections.items() if each.wanted}


async def test_upstreams_are_asked_together(hub: Hub, kind: Kind, listener: Listener) -> None:
    everybody = asyncio.Barrier(len(NAMES))
    kind.agree = lambda name, uris: everybody.wait()

    assert await asyncio.wait_for(hub.watch(listener, ALL), 5) == ALL
    await asyncio.wait_for(hub.remove(listener), 5)

    assert not wanted(kind)


async def test_what_was_watched_before_a_watch_that_was_given_up_is_called_off(
    hub: Hub, kind: Kind, listener: Listener
) -> None:
    async def hang_at_b(name: str, uris: frozenset[str]) -> None:
        if name == "b":
            await asyncio.Event().wait()

    await hub.watch(listener, frozenset({"a://1"}))
    kind.agree = hang_at_b
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(hub.watch(listener, frozenset({"b://1"})), 0.05)
    kind.agree = at_once
    await hub.remove(listener)

    assert not wanted(kind)
    assert all(held.is_idle for legs in hub.legs.held.values() for held in legs.values())


async def test_who_leaves_right_after_a_swap_is_not_watched_again(hub: Hub, kind: Kind, listener: Listener) -> None:
    hub.add(listener, Wants(uris=ALL))
    await hub.watch(listener, ALL)

    hub.swapped(hub.snapshot(), hub.snapshot())
    await hub.remove(listener)
    await hub.background.done()

    assert not wanted(kind)


async def test_what_is_watched_is_what_was_asked_for_last(hub: Hub, kind: Kind, listener: Listener) -> None:
    let_go = asyncio.Event()
    kind.agree = lambda name, uris: let_go.wait()

    watches = [
        asyncio.create_task(hub.watch(listener, frozenset(uris)))
        for uris in ({"a://1", "b://1"}, {"b://1", "c://1"}, {"c://1"})
    ]
    await asyncio.sleep(0)
    let_go.set()
    await asyncio.gather(*watches)

    assert wanted(kind) == {"c": {"c://1"}}
