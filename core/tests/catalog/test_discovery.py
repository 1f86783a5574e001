"""Discovery against upstreams of a kind that lives in this process."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from toolway.catalog.catalog import Catalog
from toolway.catalog.discovery import WATCH_SECONDS
from toolway.errors import NotFound, UpstreamUnreachable
from toolway.hookspecs.catalog import UpstreamView
from toolway.hookspecs.definitions import UpstreamSettings
from toolway.hookspecs.routing import Eras


class Running:
    """A running catalog, with how often it swapped."""

    def __init__(self, shelf: Any, until: Any) -> None:
        self.shelf, self.kind, self.clock, self._until = shelf, shelf.kind, shelf.clock, until
        self.catalog: Catalog = shelf.node()
        self.swaps = 0
        self.catalog.on_swap(self._swapped)

    def _swapped(self, old: Any, new: Any) -> None:
        self.swaps += 1

    @property
    def views(self) -> dict[str, UpstreamView]:
        return self.catalog.snapshot.upstreams

    async def follow(self, *upstreams: UpstreamSettings) -> None:
        self.shelf.file.declare(*upstreams)
        await self.catalog.reload()

    def upstream(self, name: str = "a", **more: Any) -> UpstreamSettings:
        settings: UpstreamSettings = self.shelf.upstream(name, **more)
        return settings

    async def until(self, claim: Callable[[], bool], seconds: float = 5.0) -> None:
        await self._until(claim, seconds)

    def tools(self, name: str = "a") -> list[str]:
        view = self.views.get(name)
        return [item.name for item in view.discovery.items] if view and view.discovery else []

    def status(self, name: str = "a") -> str:
        return self.views[name].status if name in self.views else ""


@pytest_asyncio.fixture
async def running(shelf: Any, until: Any) -> AsyncIterator[Running]:
    started = Running(shelf, until)
    async with started.catalog.run():
        yield started
    assert started.kind.open == []


async def test_an_upstream_is_discovered_on_a_leg_without_client_capabilities(running: Running) -> None:
    await running.follow(running.upstream())
    await running.until(lambda: running.tools() == ["x"])
    view, leg = running.views["a"], running.kind.open[0].leg
    assert (view.status, view.since) == ("up", 1000.0)
    assert view.discovery is not None and view.discovery.eras == Eras(legacy="2025-06-18")
    assert (leg.era, leg.version, leg.key, leg.client.capabilities) == ("legacy", "2025-06-18", "", {})


async def test_a_changed_list_is_discovered_again(running: Running) -> None:
    await running.follow(running.upstream())
    await running.until(lambda: bool(running.kind.open) and running.kind.open[0].wants.tools)
    running.kind.tools.append("y")
    running.kind.open[0].leg.peer.notify("notifications/tools/list_changed", {})
    await running.until(lambda: running.tools() == ["x", "y"])


async def test_an_upstream_that_never_acknowledges_a_subscription_is_shown_at_once(running: Running) -> None:
    running.kind.acknowledges.clear()
    await running.follow(running.upstream())
    await running.until(lambda: running.tools() == ["x"], seconds=WATCH_SECONDS / 4)
    assert running.kind.open[0].wants.tools


async def test_an_upstream_that_is_down_at_first_comes_in_within_two_seconds(running: Running) -> None:
    running.kind.down.add("local")
    await running.follow(running.upstream())
    await running.until(lambda: running.status() == "down" and len(running.kind.probed) > 2)
    assert running.views["a"].error == "endpoint local does not answer"
    running.kind.down.clear()
    await running.until(lambda: running.status() == "up", seconds=2.5)


async def test_items_of_an_upstream_that_went_down_stay_for_the_grace_period(running: Running) -> None:
    await running.follow(running.upstream())
    await running.until(lambda: running.status() == "up")
    running.kind.down.add("local")
    with pytest.raises(UpstreamUnreachable):
        await running.catalog.refresh("a")
    assert (running.status(), running.tools()) == ("down", ["x"])
    running.clock.time += 24 * 3600 + 1
    with pytest.raises(UpstreamUnreachable):
        await running.catalog.refresh("a")
    assert running.tools() == []


async def test_the_next_endpoint_is_asked_when_one_is_down(running: Running) -> None:
    running.kind.down.add("one")
    await running.follow(running.upstream(endpoints=("one", "two")))
    await running.until(lambda: running.status() == "up")
    assert running.kind.open[0].endpoint.id == "two"


async def test_a_refresh_on_demand_returns_the_new_items(running: Running) -> None:
    await running.follow(running.upstream())
    await running.until(lambda: running.status() == "up")
    running.kind.tools[:] = ["z"]
    discovery = await running.catalog.refresh("a")
    assert [item.name for item in discovery.items] == ["z"]
    assert running.tools() == ["z"]


async def test_a_removed_upstream_is_closed_and_a_changed_one_connected_anew(running: Running) -> None:
    await running.follow(running.upstream("a"), running.upstream("b"))
    await running.until(lambda: running.status("a") == running.status("b") == "up")
    await running.follow(running.upstream("a", endpoints=("two",)))
    await running.until(lambda: [one.endpoint.id for one in running.kind.open] == ["two"])
    with pytest.raises(NotFound):
        await running.catalog.refresh("b")


async def test_an_unchanged_upstream_keeps_its_connection(running: Running) -> None:
    await running.follow(running.upstream())
    await running.until(lambda: running.status() == "up")
    connection = running.kind.open[0]
    await running.follow(running.upstream())
    await running.catalog.refresh("a")
    assert running.kind.open == [connection]
