"""The catalog service: what is declared, what is offered, and the swap."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import BaseModel

from toolway.catalog.catalog import CHANNEL, Catalog
from toolway.catalog.snapshot import Snapshot
from toolway.errors import InvalidInput, StoreUnavailable, UpstreamUnreachable
from toolway.hookspecs.caching import Listener
from toolway.hookspecs.definitions import ServerSettings, UpstreamSettings
from toolway.hookspecs.routing import Desired, Discovery, Endpoint, Upstream
from toolway.hookspecs.secrets import Challenge
from toolway.hookspecs.system import Stored, Transaction


class Shelf:
    """Database, records, collections and messages in one: what a node sees of the shared state."""

    def __init__(self) -> None:
        self.kept: dict[str, Discovery] = {}
        self.stored: dict[str, dict[str, Stored]] = {"upstreams": {}, "servers": {}}
        self.revision = 1
        self.is_away = False
        self.listeners: list[Listener] = []
        self.name = "shelf"

    def put(self, collection: str, value: BaseModel) -> None:
        name: str = value.name  # type: ignore[attr-defined]
        self.revision += 1
        self.stored[collection][name] = Stored(name, value, self.revision)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Any]:
        if self.is_away:
            raise StoreUnavailable("the database does not answer")
        yield None

    write = read

    def change(self, part: str, actor: str, action: str, object: str) -> Any:
        raise NotImplementedError

    async def revisions(self, tx: Transaction) -> Mapping[str, int]:
        return {"catalog": self.revision}

    async def discoveries(self, tx: Transaction) -> Mapping[str, Discovery]:
        return dict(self.kept)

    async def save_discovery(self, tx: Transaction, upstream: str, discovery: Discovery | None) -> None:
        if discovery is None:
            self.kept.pop(upstream, None)
        else:
            self.kept[upstream] = discovery

    async def publish(self, channel: str, payload: bytes) -> None:
        assert channel == CHANNEL
        for listener in self.listeners:
            await listener(payload)

    @asynccontextmanager
    async def subscribe(self, channel: str, listener: Listener) -> AsyncIterator[None]:
        self.listeners.append(listener)
        yield
        self.listeners.remove(listener)


class Collection:
    """One collection of the shelf."""

    schema = None

    def __init__(self, shelf: Shelf, kind: str) -> None:
        self.shelf, self.kind = shelf, kind

    async def list(self, tx: Transaction) -> Sequence[Stored]:
        return list(self.shelf.stored[self.kind].values())

    async def get(self, tx: Transaction, name: str) -> Stored | None:
        return self.shelf.stored[self.kind].get(name)

    async def put(self, tx: Transaction, value: BaseModel) -> None:
        self.shelf.put(self.kind, value)

    async def delete(self, tx: Transaction, name: str) -> None:
        del self.shelf.stored[self.kind][name]


class File:
    """A source of declared objects."""

    name = "file"

    def __init__(self) -> None:
        self.desired = Desired()

    async def load(self) -> Desired:
        servers = {server.name: server for server in (ServerSettings(name="all"), *self.desired.servers)}
        return Desired(self.desired.upstreams, tuple(servers.values()))


def settings(name: str, **more: Any) -> UpstreamSettings:
    return UpstreamSettings(name=name, kind="local", **more)


def resolve(declared: UpstreamSettings) -> Upstream:
    if declared.kind != "local":
        raise InvalidInput(f"kind {declared.kind!r} is not known")
    return Upstream(declared.name, declared.kind, declared, (Endpoint("local"),))


async def no_headers(challenge: Challenge | None) -> Mapping[str, str]:
    return {}


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def file() -> File:
    return File()


@pytest.fixture
def catalog(shelf: Shelf, file: File, kind: Any, clock: Any) -> Catalog:
    return Catalog(
        store=shelf,  # type: ignore[arg-type]
        records=shelf,  # type: ignore[arg-type]
        upstreams=Collection(shelf, "upstreams"),
        servers=Collection(shelf, "servers"),
        sources=[file],
        resolve=resolve,
        kinds={"local": kind},
        authorize=lambda upstream: no_headers,
        pubsub=shelf,
        clock=clock,
    )


def tools(catalog: Catalog, server: str = "all") -> list[str]:
    view = catalog.snapshot.servers.get(server)
    return [exposed.name for exposed in view.listed("tool")] if view else []


async def test_what_is_stored_and_declared_is_discovered_and_shown(
    catalog: Catalog, shelf: Shelf, file: File, until: Any
) -> None:
    shelf.put("upstreams", settings("stored"))
    file.desired = Desired((settings("filed"),), (ServerSettings(name="one", include=("filed/*",)),))
    await catalog.reload()
    async with catalog.run():
        await until(lambda: tools(catalog) == ["filed__x", "stored__x"], 5)
        assert tools(catalog, "one") == ["filed__x"]
    assert catalog.snapshot.upstreams["filed"].upstream.managed_by == "file"
    assert list(catalog.filed("upstreams")) == ["filed"]
    assert list(catalog.filed("servers")) == ["all", "one"]


async def test_the_file_wins_over_the_database_and_the_loser_is_told(
    catalog: Catalog, shelf: Shelf, file: File
) -> None:
    shelf.put("upstreams", settings("a", description="database"))
    shelf.put("servers", ServerSettings(name="all", naming="plain"))
    file.desired = Desired((settings("a", description="file"),), (ServerSettings(name="all", description="mine"),))
    await catalog.reload()
    assert catalog.snapshot.upstreams["a"].upstream.settings.description == "file"
    assert catalog.snapshot.servers["all"].settings.description == "mine"
    assert [problem.split(" ")[0:2] for problem in catalog.problems] == [["upstream", "'a'"], ["server", "'all'"]]


async def test_an_unusable_upstream_is_left_out_and_told(catalog: Catalog, shelf: Shelf) -> None:
    shelf.put("upstreams", UpstreamSettings(name="odd", kind="other"))
    shelf.put("upstreams", settings("good"))
    await catalog.reload()
    assert list(catalog.snapshot.upstreams) == ["good"]
    assert catalog.problems == ("upstream 'odd' is left out: kind 'other' is not known",)


async def test_a_change_of_another_node_is_seen_after_its_message(catalog: Catalog, shelf: Shelf, until: Any) -> None:
    await catalog.reload()
    async with catalog.run():
        shelf.put("upstreams", settings("new"))
        await shelf.publish(CHANNEL, b"catalog")
        await until(lambda: tools(catalog) == ["new__x"], 0.9)


async def test_a_change_without_a_message_is_seen_by_polling(catalog: Catalog, shelf: Shelf, until: Any) -> None:
    await catalog.reload()
    async with catalog.run():
        shelf.put("upstreams", settings("new"))
        await until(lambda: tools(catalog) == ["new__x"], 3)


async def test_listeners_hear_of_each_swap_and_only_of_changes(catalog: Catalog, shelf: Shelf, until: Any) -> None:
    swaps: list[tuple[Snapshot, Snapshot]] = []
    catalog.on_swap(lambda old, new: swaps.append((old, new)))
    await catalog.reload()
    await catalog.reload()
    assert [(old.number, new.number) for old, new in swaps] == [(0, 1)]
    shelf.put("upstreams", settings("new"))
    await catalog.reload()
    assert swaps[-1] == (swaps[0][1], catalog.snapshot)


async def test_a_failing_load_keeps_the_old_snapshot_until_it_works_again(
    catalog: Catalog, shelf: Shelf, until: Any
) -> None:
    shelf.put("upstreams", settings("a"))
    await catalog.reload()
    before = catalog.snapshot
    shelf.is_away = True
    await catalog.reload()
    assert catalog.snapshot is before
    assert "the database does not answer" in catalog.problems[0]
    async with catalog.run():
        shelf.is_away = False
        await until(lambda: catalog.problems == (), 3)


async def test_the_last_good_list_survives_a_restart(
    catalog: Catalog, shelf: Shelf, file: File, kind: Any, clock: Any, until: Any
) -> None:
    shelf.put("upstreams", settings("a"))
    await catalog.reload()
    async with catalog.run():
        await until(lambda: "a" in shelf.kept, 5)
    kind.down.add("local")
    store: Any = shelf
    records: Any = shelf
    again = Catalog(
        store=store, records=records, upstreams=Collection(shelf, "upstreams"), servers=Collection(shelf, "servers"),
        sources=[file], resolve=resolve, kinds={"local": kind}, authorize=lambda upstream: no_headers, pubsub=shelf,
        clock=clock,
    )  # fmt: skip
    await again.reload()
    assert tools(again) == ["a__x"]
    async with again.run():
        await until(lambda: again.snapshot.upstreams["a"].status == "down", 5)
        assert tools(again) == ["a__x"]


async def test_a_refresh_is_in_the_snapshot_when_it_returns(
    catalog: Catalog, shelf: Shelf, kind: Any, until: Any
) -> None:
    shelf.put("upstreams", settings("a"))
    await catalog.reload()
    async with catalog.run():
        await until(lambda: tools(catalog) == ["a__x"], 5)
        kind.tools[:] = ["y"]
        await catalog.refresh("a")
        assert tools(catalog) == ["a__y"]
        kind.down.add("local")
        with pytest.raises(UpstreamUnreachable):
            await catalog.refresh("a")
        assert catalog.snapshot.upstreams["a"].status == "down"


async def test_a_removed_upstream_is_gone_with_its_connection_and_its_kept_list(
    catalog: Catalog, shelf: Shelf, kind: Any, until: Any
) -> None:
    shelf.put("upstreams", settings("a"))
    await catalog.reload()
    async with catalog.run():
        await until(lambda: tools(catalog) == ["a__x"], 5)
        del shelf.stored["upstreams"]["a"]
        await catalog.reload()
        assert tools(catalog) == []
        await until(lambda: kind.open == [] and shelf.kept == {}, 5)


async def test_a_disabled_upstream_is_not_contacted(catalog: Catalog, shelf: Shelf, kind: Any, until: Any) -> None:
    shelf.put("upstreams", settings("off", enabled=False))
    shelf.put("upstreams", settings("on"))
    await catalog.reload()
    async with catalog.run():
        await until(lambda: tools(catalog) == ["on__x"], 5)
    assert kind.probed == ["local"]
