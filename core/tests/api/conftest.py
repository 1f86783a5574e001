"""An admin API over collections in memory and a catalog with two upstreams."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, Literal

import httpx2
import msgspec
import pytest
import pytest_asyncio
from pydantic import BaseModel

from toolway.bundled.api.endpoint import RestApi, routes
from toolway.bundled.api.plugin import ApiPlugin
from toolway.catalog.snapshot import Snapshot, build_snapshot
from toolway.errors import Conflict, NotFound, Unauthenticated, UpstreamUnreachable
from toolway.hookspecs.auth import ANONYMOUS, Authenticated, Principal, Resource, Visit
from toolway.hookspecs.catalog import UpstreamView
from toolway.hookspecs.challenge import Challenges
from toolway.hookspecs.definitions import ServerSettings, UpstreamSettings
from toolway.hookspecs.routing import Discovery, Eras, Item, Upstream
from toolway.hookspecs.system import Stored, Transaction
from toolway.plugin import Settings


class HttpSettings(UpstreamSettings):
    """Settings of an upstream in these tests."""

    kind: Literal["http"]
    endpoints: tuple[str, ...] = ()


class MemoryEntity:
    """A collection that lives in a dict."""

    def __init__(self, kind: str, schema: Any, *stored: Stored) -> None:
        self.kind, self.part, self.schema = kind, kind, schema
        self.objects = {one.name: one for one in stored}

    async def list(self, tx: Transaction) -> Sequence[Stored]:
        return [self.objects[name] for name in sorted(self.objects)]

    async def get(self, tx: Transaction, name: str) -> Stored | None:
        return self.objects.get(name)

    async def put(self, tx: Transaction, value: BaseModel) -> None:
        name: str = value.name  # type: ignore[attr-defined]
        old = self.objects.get(name)
        self._refuse_filed(name)
        self.objects[name] = Stored(name, value, old.revision + 1 if old else 1)

    async def delete(self, tx: Transaction, name: str) -> None:
        self._refuse_filed(name)
        if self.objects.pop(name, None) is None:
            raise NotFound(f"there is no {name!r}")

    def _refuse_filed(self, name: str) -> None:
        if name in self.objects and self.objects[name].managed_by == "file":
            raise Conflict(f"{name!r} is declared in the configuration file")


class MemoryStore:
    """Transactions over nothing; `changes` tells what was recorded."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str, str, str]] = []

    @asynccontextmanager
    async def read(self) -> AsyncIterator[None]:
        yield None

    @asynccontextmanager
    async def write(self) -> AsyncIterator[None]:
        yield None

    @asynccontextmanager
    async def change(self, part: str, actor: str, action: str, object: str) -> AsyncIterator[Any]:
        yield SimpleNamespace()
        self.changes.append((part, actor, action, object))


class FixedCatalog:
    """A catalog whose snapshot the test makes."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.failure = ""
        self.problems = ("upstream 'z' is left out",)
        self.reloads = 0

    async def reload(self) -> None:
        self.reloads += 1

    async def refresh(self, name: str) -> Discovery:
        if name not in self.snapshot.upstreams:
            raise NotFound(f"there is no enabled upstream {name!r}")
        if name == "down":
            raise UpstreamUnreachable("endpoint http://127.0.0.1:1/mcp does not answer")
        return self.snapshot.upstreams[name].discovery or Discovery(Eras())


def upstream(name: str, *tools: str) -> UpstreamView:
    settings = UpstreamSettings(name=name, kind="http")
    items = tuple(Item(name, "tool", tool, msgspec.json.encode({"name": tool, "n": 2**70})) for tool in tools)
    return UpstreamView(Upstream(name, "http", settings, ()), Discovery(Eras("2026-07-28"), items=items), "up", "", 5.0)


class Check:
    """A health check that says what the test wants."""

    def __init__(self, name: str, failing: Callable[[], str], *, critical: bool) -> None:
        self.name, self.critical, self._failing = name, critical, failing

    async def check(self) -> str:
        return self._failing()


class CatalogCheck:
    """Critical as the catalog's own is."""

    name = "catalog"

    def __init__(self, catalog: FixedCatalog) -> None:
        self._catalog = catalog

    @property
    def critical(self) -> bool:
        return self._catalog.snapshot.number == 0

    async def check(self) -> str:
        return self._catalog.failure


class Gate:
    """The API with everything a test wants to turn."""

    def __init__(self) -> None:
        servers = [ServerSettings(name="all"), ServerSettings(name="plain", naming="plain")]
        views = [upstream("a", "x", "y"), upstream("b", "x"), upstream("down")]
        self.catalog = FixedCatalog(build_snapshot(1, views, servers))
        stored = [Stored(name, HttpSettings(name=name, kind="http"), 1) for name in ("a", "b")]
        filed = HttpSettings(name="filed", kind="http", auth={"token": "literal:hunter2"})
        stored.append(Stored("filed", filed, 0, "file"))
        self.upstreams = MemoryEntity("upstreams", HttpSettings, *stored)
        self.servers = MemoryEntity("servers", ServerSettings, *(Stored(one.name, one, 1) for one in servers))
        self.store = MemoryStore()
        self.denied: set[tuple[str, str]] = set()
        self.principal = Principal("u1", name="admin")
        self.failing = ""
        self.phase = "serving"
        self.database = self.store
        self.entities = [self.upstreams, self.servers]
        self.plugins = [{"name": "cache", "status": "enabled"}]
        self.health_checks = [
            Check("database", lambda: self.failing, critical=True),
            CatalogCheck(self.catalog),
            Check("collector", lambda: "collector http://127.0.0.1:4318 does not answer", critical=False),
        ]
        self.challenges = Challenges("http://gate", ())
        self.redact: Callable[[str], str] = str
        self.operations = list(ApiPlugin(Settings()).toolway_routes(self))  # type: ignore[arg-type]
        self.app = RestApi(self)  # type: ignore[arg-type]
        self.routes = routes(self, self.operations)  # type: ignore[arg-type]

    def describe(self, action: str, name: str) -> Resource:
        return Resource(name)

    async def authenticate(self, visit: Visit) -> Authenticated:
        if visit.authorization is None:
            return Authenticated(ANONYMOUS)
        if visit.authorization != b"Bearer good":
            raise Unauthenticated("the credential is not valid here")
        return Authenticated(self.principal)

    def authorized(self, principal: Principal, action: str, resource: Resource) -> bool:
        return principal.kind != "anonymous" and not {(action, resource.name), (action, "")} & self.denied


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest_asyncio.fixture
async def api(gate: Gate) -> AsyncIterator[httpx2.AsyncClient]:
    """A client with an administrator's credential."""
    transport = httpx2.ASGITransport(gate.app, raise_app_exceptions=True)
    headers = {"authorization": "Bearer good"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://gate", headers=headers) as client:
        yield client
