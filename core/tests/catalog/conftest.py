"""A kind of upstream that lives in this process, and a clock that only the test moves."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec
import pytest
from msgspec import Raw

from toolway.errors import UpstreamUnreachable
from toolway.hookspecs.definitions import UpstreamSettings
from toolway.hookspecs.routing import (
    Connection,
    Discovery,
    Endpoint,
    Eras,
    Item,
    Leg,
    Reply,
    Upstream,
    UpstreamRequest,
    Wants,
)


class Clock:
    """Time that only the test moves."""

    def __init__(self) -> None:
        self.time = 1000.0

    def monotonic(self) -> float:
        return self.time

    def now(self) -> float:
        return self.time


class LocalKind:
    """A kind whose upstreams are lists in memory; endpoints named in `down` do not answer."""

    kind = "local"
    settings = UpstreamSettings
    file_only = False

    def __init__(self) -> None:
        self.tools: list[str] = ["x"]
        self.down: set[str] = set()
        self.open: list[LocalConnection] = []
        self.probed: list[str] = []

    def endpoints(self, settings: UpstreamSettings) -> tuple[Endpoint, ...]:
        return (Endpoint("local"),)

    async def probe(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> Eras:
        self.probed.append(endpoint.id)
        self.check(endpoint)
        return Eras(legacy="2025-06-18")

    def connect(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> Connection:
        connection = LocalConnection(self, upstream, endpoint, leg)
        self.open.append(connection)
        return connection

    def check(self, endpoint: Endpoint) -> None:
        if endpoint.id in self.down:
            raise UpstreamUnreachable(f"endpoint {endpoint.id} does not answer")


class LocalConnection:
    """A conversation with one of them."""

    def __init__(self, kind: LocalKind, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> None:
        self.kind, self.upstream, self.endpoint, self.leg = kind, upstream, endpoint, leg
        self.wants = Wants()

    async def discover(self) -> Discovery:
        self.kind.check(self.endpoint)
        name = self.upstream.name
        items = tuple(Item(name, "tool", tool, msgspec.json.encode({"name": tool})) for tool in self.kind.tools)
        return Discovery(Eras(), {"tools": {"listChanged": True}}, {}, None, items)

    async def request(self, request: UpstreamRequest) -> Reply:
        raise NotImplementedError

    async def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        raise NotImplementedError

    async def watch(self, wants: Wants) -> None:
        self.wants = wants

    async def close(self) -> None:
        self.kind.open.remove(self)


Until = Callable[[Callable[[], bool], float], Awaitable[None]]


@pytest.fixture
def kind() -> LocalKind:
    return LocalKind()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def until() -> Until:
    """Wait until a claim holds, at most so many seconds."""

    async def wait(claim: Callable[[], bool], seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while not claim():
                await asyncio.sleep(0.005)

    return wait
