"""A catalog on a real database, a kind of upstream that lives in this process, and a clock that only the test moves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from msgspec import Raw
from sqlmodel import SQLModel

from toolway.bundled.registry.entities import Rowed, ServerEntity, UpstreamEntity
from toolway.bundled.registry.source import Registered
from toolway.catalog.catalog import Catalog, saved_discoveries
from toolway.catalog.definitions import Definitions
from toolway.catalog.store import REVISIONS_CHANNEL, Change, Store
from toolway.errors import StoreUnavailable, UpstreamUnreachable
from toolway.hookspecs.caching import Listener
from toolway.hookspecs.definitions import ServerSettings, UpstreamSettings
from toolway.hookspecs.routing import (
    Connection,
    Desired,
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
from toolway.hookspecs.secrets import Challenge
from toolway.hookspecs.system import SnapshotPart
from toolway.keyring import KeyRing
from toolway.secrets import SecretResolver


class Clock:
    """Time that only the test moves."""

    def __init__(self) -> None:
        self.time = 1000.0

    def monotonic(self) -> float:
        return self.time

    def now(self) -> float:
        return self.time


class LocalUpstream(UpstreamSettings):
    """An upstream in memory."""

    endpoints: tuple[str, ...] = ("local",)


class LocalKind:
    """A kind whose upstreams are lists in memory; endpoints named in `down` do not answer."""

    kind = "local"
    settings: type[UpstreamSettings] = LocalUpstream
    file_only = False

    def __init__(self) -> None:
        self.tools: list[str] = ["x"]
        self.down: set[str] = set()
        self.acknowledges = asyncio.Event()
        self.acknowledges.set()
        self.open: list[LocalConnection] = []
        self.probed: list[str] = []

    def endpoints(self, settings: UpstreamSettings) -> tuple[Endpoint, ...]:
        assert isinstance(settings, LocalUpstream)
        return tuple(Endpoint(one) for one in settings.endpoints)

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
        await self.kind.acknowledges.wait()

    async def close(self) -> None:
        self.kind.open.remove(self)


class SharedStore(Store):
    """The database of a node; `is_away` when it does not answer."""

    is_away = False

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Change]:
        if self.is_away:
            raise StoreUnavailable("the database does not answer")
        async with super().read() as tx:
            yield tx


class Messages:
    """Publish and subscribe."""

    name = "messages"

    def __init__(self) -> None:
        self.listeners: list[Listener] = []

    async def publish(self, channel: str, payload: bytes) -> None:
        assert channel == REVISIONS_CHANNEL
        for listener in self.listeners:
            await listener(payload)

    @asynccontextmanager
    async def subscribe(self, channel: str, listener: Listener) -> AsyncIterator[None]:
        self.listeners.append(listener)
        yield
        self.listeners.remove(listener)


class File:
    """What the configuration declares, for all nodes."""

    def __init__(self) -> None:
        self.nodes: list[Catalog] = []
        self.configured = Desired((), (ServerSettings(name="all"),))

    def declare(self, *upstreams: UpstreamSettings, servers: Sequence[ServerSettings] = ()) -> None:
        every = {server.name: server for server in (ServerSettings(name="all"), *servers)}
        self.configured = Desired(upstreams, tuple(every.values()))
        for node in self.nodes:
            node.configured = self.configured


class Shelf:
    """What the nodes share: the database and its collections, messages, and a source."""

    def __init__(self, store: SharedStore, kind: LocalKind, clock: Clock) -> None:
        self.store, self.kind, self.clock = store, kind, clock
        self.messages, self.file = Messages(), File()
        self.parts: list[SnapshotPart] = []
        self.definitions = Definitions({"local": kind}, {})
        self.seal, self.secrets = KeyRing([(b"newest", b"1" * 32)]), SecretResolver(clock)
        self.api_references, self.catalog = ("env",), self.file
        kernel: Any = self
        self.upstreams, self.servers = UpstreamEntity(kernel), ServerEntity(kernel)

    def node(self) -> Catalog:
        node = Catalog(
            store=self.store,
            definitions=self.definitions,
            sources=[Registered(self.upstreams, self.servers)],
            configured=self.file.configured,
            parts=self.parts,
            authorize=lambda upstream: no_headers,
            pubsub=self.messages,
            clock=self.clock,
        )
        self.file.nodes.append(node)
        return node

    def upstream(self, name: str, **more: Any) -> UpstreamSettings:
        return self.definitions.settings({"name": name, "kind": "local", **more})

    async def put(self, name: str, **more: Any) -> None:
        await self.write(self.upstreams, self.upstream(name, **more))

    async def write(self, entity: Rowed, value: Any) -> None:
        async with self.store.change("catalog", "u1", "put", value.name) as tx:
            await entity.put(tx, value)

    async def remove(self, name: str) -> None:
        async with self.store.change("catalog", "u1", "delete", name) as tx:
            await self.upstreams.delete(tx, name)

    async def kept(self) -> dict[str, Discovery]:
        async with self.store.read() as tx:
            return await saved_discoveries(tx)


async def no_headers(challenge: Challenge | None) -> Mapping[str, str]:
    return {}


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database: SQLite, unless the test wants `postgres`."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'toolway.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest_asyncio.fixture
async def shelf(database_url: str, kind: LocalKind, clock: Clock) -> AsyncIterator[Shelf]:
    store = SharedStore.connect(database_url)
    assert isinstance(store, SharedStore)
    async with store.write() as tx:
        await (await tx.session.connection()).run_sync(SQLModel.metadata.create_all)
    yield Shelf(store, kind, clock)
    await store.close()


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
