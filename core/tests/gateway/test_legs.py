"""The gateway's own conversations with upstreams."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

import pytest
from msgspec import Raw

from toolway.gateway.legs import HeldLeg
from toolway.gateway.subscriptions import Listener
from toolway.hookspecs.definitions import UpstreamSettings
from toolway.hookspecs.routing import Discovery, Endpoint, Eras, Reply, RpcFault, Upstream, UpstreamRequest, Wants


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
