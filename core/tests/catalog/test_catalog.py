"""The catalog service: what is declared, what is offered, and the swap."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from toolway.bundled.registry.models import ServerRow, UpstreamRow
from toolway.catalog.catalog import Catalog
from toolway.catalog.snapshot import Snapshot
from toolway.catalog.store import REVISIONS_CHANNEL
from toolway.errors import UpstreamUnreachable
from toolway.hookspecs.definitions import ServerSettings
from toolway_testing.polling import eventually


@pytest.fixture
def catalog(shelf: Any) -> Catalog:
    node: Catalog = shelf.node()
    return node


def tools(catalog: Catalog, server: str = "all") -> list[str]:
    view = catalog.snapshot.servers.get(server)
    return [exposed.name for exposed in view.listed("tool")] if view else []


async def is_kept(shelf: Any, name: str) -> bool:
    return name in await shelf.kept()


async def is_gone(shelf: Any, name: str) -> bool:
    return name not in await shelf.kept()


async def test_what_is_stored_and_declared_is_discovered_and_shown(catalog: Catalog, shelf: Any, until: Any) -> None:
    await shelf.put("stored")
    shelf.file.declare(shelf.upstream("filed"), servers=[ServerSettings(name="one", include=("filed/*",))])
    await catalog.reload()
    async with catalog.run():
        await until(lambda: tools(catalog) == ["filed__x", "stored__x"], 5)
        assert tools(catalog, "one") == ["filed__x"]
    assert list(shelf.upstreams.filed) == ["filed"]
    assert list(shelf.servers.filed) == ["all", "one"]


async def test_the_file_wins_over_the_database_and_the_loser_is_told(catalog: Catalog, shelf: Any) -> None:
    await shelf.put("a", description="database")
    async with shelf.store.change("catalog", "u1", "put", "all") as tx:
        tx.session.add(ServerRow(name="all", settings='{"name": "all", "naming": "plain"}', revision=1))
    mine = ServerSettings(name="all", description="mine")
    shelf.file.declare(shelf.upstream("a", description="file"), servers=[mine])
    await catalog.reload()
    assert catalog.snapshot.upstreams["a"].upstream.settings.description == "file"
    assert catalog.snapshot.servers["all"].settings.description == "mine"
    assert [problem.split(" ")[0:2] for problem in catalog.problems] == [["upstream", "'a'"], ["server", "'all'"]]


async def test_an_unusable_upstream_is_left_out_and_told(catalog: Catalog, shelf: Any) -> None:
    async with shelf.store.write() as tx:
        tx.session.add(UpstreamRow(name="odd", settings='{"name": "odd", "kind": "other"}', revision=1))
    await shelf.put("good")
    await catalog.reload()
    assert list(catalog.snapshot.upstreams) == ["good"]
    [problem] = catalog.problems
    assert problem.startswith("upstream 'odd' is left out: ") and "kind 'other' is not known" in problem


async def test_a_change_of_another_node_is_seen_after_its_message(catalog: Catalog, shelf: Any, until: Any) -> None:
    await catalog.reload()
    async with catalog.run():
        await shelf.put("new")
        await shelf.messages.publish(REVISIONS_CHANNEL, b"catalog")
        await until(lambda: tools(catalog) == ["new__x"], 0.9)


async def test_a_change_without_a_message_is_seen_by_polling(catalog: Catalog, shelf: Any, until: Any) -> None:
    await catalog.reload()
    async with catalog.run():
        await shelf.put("new")
        await until(lambda: tools(catalog) == ["new__x"], 3)


async def test_listeners_hear_of_each_swap_and_only_of_changes(catalog: Catalog, shelf: Any, until: Any) -> None:
    swaps: list[tuple[Snapshot, Snapshot]] = []
    catalog.on_swap(lambda old, new: swaps.append((old, new)))
    await catalog.reload()
    await catalog.reload()
    assert [(old.number, new.number) for old, new in swaps] == [(0, 1)]
    await shelf.put("new")
    await catalog.reload()
    assert swaps[-1] == (swaps[0][1], catalog.snapshot)


async def test_a_failing_load_keeps_the_old_snapshot_until_it_works_again(
    catalog: Catalog, shelf: Any, until: Any
) -> None:
    await shelf.put("a")
    await catalog.reload()
    before = catalog.snapshot
    shelf.store.is_away = True
    await catalog.reload()
    assert catalog.snapshot is before
    assert "the database does not answer" in catalog.problems[0]
    async with catalog.run():
        shelf.store.is_away = False
        await until(lambda: catalog.problems == (), 3)


async def test_the_last_good_list_survives_a_restart(
    catalog: Catalog, shelf: Any, kind: Any, clock: Any, until: Any
) -> None:
    await shelf.put("a")
    await catalog.reload()
    async with catalog.run():
        await eventually(lambda: is_kept(shelf, "a"))
    kind.down.add("local")
    again = shelf.node()
    await again.reload()
    assert tools(again) == ["a__x"]
    async with again.run():
        await until(lambda: again.snapshot.upstreams["a"].status == "down", 5)
        assert tools(again) == ["a__x"]


async def test_a_refresh_is_in_the_snapshot_when_it_returns(
    catalog: Catalog, shelf: Any, kind: Any, until: Any
) -> None:
    await shelf.put("a")
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
    catalog: Catalog, shelf: Any, kind: Any, until: Any
) -> None:
    await shelf.put("a")
    await catalog.reload()
    async with catalog.run():
        await until(lambda: tools(catalog) == ["a__x"], 5)
        await shelf.remove("a")
        await catalog.reload()
        assert tools(catalog) == []
        await until(lambda: kind.open == [], 5)
        await eventually(lambda: is_gone(shelf, "a"))


async def test_a_disabled_upstream_is_not_contacted(catalog: Catalog, shelf: Any, kind: Any, until: Any) -> None:
    await shelf.put("off", enabled=False)
    await shelf.put("on")
    await catalog.reload()
    async with catalog.run():
        await until(lambda: tools(catalog) == ["on__x"], 5)
    assert kind.probed == ["local"]


@pytest.mark.parametrize("database_url", ["sqlite", pytest.param("postgres", marks=pytest.mark.server)], indirect=True)
async def test_nodes_that_discover_the_same_at_once_all_keep_it(
    shelf: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b", "c"):
        await shelf.put(name)
    nodes = [shelf.node() for _ in range(4)]
    await asyncio.gather(*(node.reload() for node in nodes))
    async with AsyncExitStack() as running:
        for node in nodes:
            await running.enter_async_context(node.run())
        await until(lambda: all(tools(node) == ["a__x", "b__x", "c__x"] for node in nodes), 5)
        await eventually(lambda: is_kept(shelf, "a"))
    assert "cannot reach the database" not in caplog.text
