"""The gateway's own conversations with upstreams."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Raw

from toolway.gateway.legs import HeldLeg
from toolway.hookspecs.definitions import UpstreamSettings
from toolway.hookspecs.routing import Discovery, Endpoint, Eras, Reply, RpcFault, Upstream, UpstreamRequest, Wants


class Reluctant:
    """Refuses the first request."""

    def __init__(self) -> None:
        self.levels: list[bytes] = []

    async def request(self, request: UpstreamRequest) -> Reply:
        self.levels.append(bytes(request.params["level"]))
        return Reply(fault=RpcFault(-32603, "not now")) if len(self.levels) == 1 else Reply()

    async def discover(self) -> Discovery:
        return Discovery(Eras(legacy="2025-11-25"))

    async def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """Nothing is told."""

    async def watch(self, wants: Wants) -> None:
        """Nothing is watched."""

    async def close(self) -> None:
        """There is nothing to close."""


async def test_a_log_level_that_the_upstream_refused_is_asked_for_again() -> None:
    endpoint, connection = Endpoint("http://127.0.0.1:1/mcp"), Reluctant()
    upstream = Upstream("up", "http", UpstreamSettings(name="up", kind="http"), (endpoint,))
    held = HeldLeg(upstream, endpoint, ("up", "legacy", ""), None)
    held.connection = connection

    for _ in range(3):
        await held.set_level("error")

    assert connection.levels == [b'"error"'] * 2
