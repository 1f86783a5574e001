"""The gateway's own conversations with upstreams."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

import pytest
from msgspec import Raw

from toolway.errors import Overloaded, UpstreamError
from toolway.gateway.exchange import Asker, Exchange
from toolway.gateway.legs import HeldLeg, Legs
from toolway.gateway.streams import EventStream
from toolway.gateway.subscriptions import Listener
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.catalog import UpstreamView
from toolway.hookspecs.definitions import UpstreamSettings
from toolway.hookspecs.routing import (
    ClientProfile,
    Discovery,
    Endpoint,
    Eras,
    Leg,
    Reply,
    RpcFault,
    Upstream,
    UpstreamKind,
    UpstreamRequest,
    Wants,
)
from toolway_testing.clock import MovedClock


class Reluctant:
    """Refuses the first request, and never agrees to what is wanted first."""

    def __init__(self) -> None:
        self.levels: list[bytes] = []
        self.wanted: list[frozenset[str]] = []

    async def request(self, request: UpstreamRequest) -> Reply:
        self.levels.append(bytes(request.params["level"]))
        return Reply(fault=RpcFault(-32603, "not now")) if len(self.levels) == 1 else Reply()

    async def discover(self) -> Discovery:
        return Discovery(Eras(legacy="2025-11-25"))

    async def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """Nothing is told."""

    async def watch(self, wants: Wants) -> None:
        self.wanted.append(wants.uris)
        if len(self.wanted) == 1:
            await asyncio.Event().wait()

    async def close(self) -> None:
        """There is nothing to close."""


def held_over(connection: Reluctant) -> HeldLeg:
    endpoint = Endpoint("http://127.0.0.1:1/mcp")
    upstream = Upstream("up", "http", UpstreamSettings(name="up", kind="http"), (endpoint,))
    held = HeldLeg(upstream, endpoint, ("up", "legacy", ""), None)
    held.connection = connection
    return held


async def test_what_was_given_up_before_the_upstream_agreed_is_called_off() -> None:
    connection = Reluctant()
    held, listener = held_over(connection), cast("Listener", object())

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(held.want(listener, frozenset({"a://1"})), 0.05)
    assert await held.want(listener, frozenset())

    assert connection.wanted == [{"a://1"}, set()]


async def test_a_log_level_that_the_upstream_refused_is_asked_for_again() -> None:
    connection = Reluctant()
    held = held_over(connection)

    for _ in range(3):
        await held.set_level("error")

    assert connection.levels == [b'"error"'] * 2


class Quiet(Reluctant):
    """Agrees to everything."""

    async def watch(self, wants: Wants) -> None:
        self.wanted.append(wants.uris)


class QuietKind:
    """Makes quiet connections, and keeps the last one."""

    def connect(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> Quiet:
        self.connection = Quiet()
        return self.connection


def view_of(name: str) -> UpstreamView:
    upstream = Upstream(name, "quiet", UpstreamSettings(name=name, kind="quiet"), (Endpoint(f"http://{name}/"),))
    return UpstreamView(upstream, Discovery(Eras(legacy="2025-11-25")))


def listener_of(principal: str, session: str = "") -> Listener:
    """Of a legacy client; `session` is one of its capabilities, so that each has a conversation of its own."""
    client = ClientProfile("2025-11-25", {"experimental": {session: {}}}, {})
    return Listener("s", Principal(id=principal), client, lambda *event: None)


async def test_a_conversation_that_ended_is_not_asked_to_forget_what_was_watched() -> None:
    kind = QuietKind()
    legs, view, listener = Legs(MovedClock(), {"quiet": cast("UpstreamKind", kind)}), view_of("up"), listener_of("a")
    held = legs.get(legs.key(view, listener), view, view.upstream.endpoints[0], listener)
    await held.want(listener, frozenset({"a://1"}))

    legs.discard(held)
    await held.want(listener, frozenset())
    await legs.close()

    assert kind.connection.wanted == [{"a://1"}]


async def test_who_watches_in_many_conversations_keeps_no_call_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolway.gateway.legs.PER_UPSTREAM", 4)
    legs, view = Legs(MovedClock(), {"quiet": cast("UpstreamKind", QuietKind())}), view_of("up")

    def leg_for(owner: Listener | Exchange) -> HeldLeg:
        return legs.get(legs.key(view, owner), view, view.upstream.endpoints[0], owner)

    async def watch(listener: Listener) -> HeldLeg:
        held = leg_for(listener)
        await held.want(listener, frozenset({"a://1"}))
        return held

    def call_of(principal: str) -> Exchange:
        asker = cast("Asker", None)
        return Exchange(1, Principal(id=principal), ClientProfile("2025-11-25", {}, {}), {}, EventStream(), asker)

    one, *greedy = [await watch(listener_of(*who)) for who in [("one", ""), *(("many", str(n)) for n in range(3))]]
    with pytest.raises(Overloaded, match="4 conversations in use"):
        await watch(listener_of("late"))
    called = leg_for(call_of("new"))
    held = [each for endpoints in legs.held.values() for each in endpoints.values()]
    assert one in held and called in held and sum(each in held for each in greedy) == 2

    for each in held:
        each.users += 1
    with pytest.raises(Overloaded, match="4 conversations in use"):
        leg_for(call_of("late"))
    await legs.close()


class Choosy(Reluctant):
    """Refuses everything as soon as something bad is among it."""

    async def watch(self, wants: Wants) -> None:
        await asyncio.sleep(0)
        if "bad" in wants.uris:
            raise UpstreamError("no")
        self.wanted.append(wants.uris)


async def test_what_is_refused_is_refused_to_whoever_asked_for_it() -> None:
    connection = Choosy()
    held = held_over(connection)

    asked = [held.want(listener_of(uri), frozenset({uri})) for uri in ("first", "good", "bad", "other")]

    assert await asyncio.gather(*asked) == [True, True, False, True]
    assert connection.wanted[-1] == {"first", "good", "other"}


async def test_who_was_refused_more_keeps_what_it_had_unless_it_left_meanwhile() -> None:
    held = held_over(Choosy())
    stays, leaves = listener_of("a"), listener_of("b")
    for listener in (stays, leaves):
        await held.want(listener, frozenset({"good"}))

    refusals = asyncio.gather(*(held.want(each, frozenset({"good", "bad"})) for each in (stays, leaves)))
    await asyncio.sleep(0)
    await held.want(leaves, frozenset())

    assert await refusals == [False, False]
    assert held.wants == {stays: {"good"}}
