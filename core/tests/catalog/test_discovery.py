"""Discovery against upstreams of a kind that lives in this process."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import pytest_asyncio

from toolway.catalog.discovery import Discoverer
from toolway.catalog.snapshot import UpstreamView
from toolway.errors import NotFound, UpstreamUnreachable
from toolway.hookspecs.definitions import UpstreamSettings
from toolway.hookspecs.routing import Endpoint, Eras, Upstream
from toolway.hookspecs.secrets import Challenge


class Running:
    """A discoverer with what it reported."""

    def __init__(self, kind: Any, clock: Any, until: Any) -> None:
        self.kind, self.clock, self._until = kind, clock, until
        self.heard: list[str] = []
        self.discoverer = Discoverer({"local": kind}, lambda upstream: no_headers, clock, self.heard.append)

    @property
    def views(self) -> dict[str, UpstreamView]:
        return self.discoverer.views

    def follow(self, *upstreams: Upstream) -> None:
        self.discoverer.follow({upstream.name: upstream for upstream in upstreams}, {})

    async def until(self, claim: Callable[[], bool], seconds: float = 5.0) -> None:
        await self._until(claim, seconds)

    def tools(self, name: str = "a") -> list[str]:
        view = self.views.get(name)
        return [item.name for item in view.discovery.items] if view and view.discovery else []

    def status(self, name: str = "a") -> str:
        return self.views[name].status if name in self.views else ""


async def no_headers(challenge: Challenge | None) -> Mapping[str, str]:
    return {}


def upstream(name: str = "a", kind: str = "local", endpoints: tuple[str, ...] = ("local",)) -> Upstream:
    settings = UpstreamSettings(name=name, kind=kind)
    return Upstream(name, kind, settings, tuple(Endpoint(one) for one in endpoints))


@pytest_asyncio.fixture
async def running(kind: Any, clock: Any, until: Any) -> AsyncIterator[Running]:
    started = Running(kind, clock, until)
    async with started.discoverer.run():
        yield started
    assert started.kind.open == []


async def test_an_upstream_is_discovered_on_a_leg_without_client_capabilities(running: Running) -> None:
    running.follow(upstream())
    await running.until(lambda: running.tools() == ["x"])
    view, leg = running.views["a"], running.kind.open[0].leg
    assert (view.status, view.since) == ("up", 1000.0)
    assert view.discovery is not None and view.discovery.eras == Eras(legacy="2025-06-18")
    assert (leg.era, leg.version, leg.key, leg.client.capabilities) == ("legacy", "2025-06-18", "", {})


async def test_a_changed_list_is_discovered_again(running: Running) -> None:
    running.follow(upstream())
    await running.until(lambda: bool(running.kind.open) and running.kind.open[0].wants.tools)
    running.kind.tools.append("y")
    running.kind.open[0].leg.peer.notify("notifications/tools/list_changed", {})
    await running.until(lambda: running.tools() == ["x", "y"])


async def test_an_upstream_that_is_down_at_first_comes_in_within_two_seconds(running: Running) -> None:
    running.kind.down.add("local")
    running.follow(upstream())
    await running.until(lambda: running.status() == "down" and len(running.kind.probed) > 2)
    assert running.views["a"].error == "endpoint local does not answer"
    running.kind.down.clear()
    await running.until(lambda: running.status() == "up", seconds=2.5)


async def test_items_of_an_upstream_that_went_down_stay_for_the_grace_period(running: Running) -> None:
    running.follow(upstream())
    await running.until(lambda: running.status() == "up")
    running.kind.down.add("local")
    with pytest.raises(UpstreamUnreachable):
        await running.discoverer.refresh("a")
    assert (running.status(), running.tools()) == ("down", ["x"])
    running.clock.time += 24 * 3600 + 1
    with pytest.raises(UpstreamUnreachable):
        await running.discoverer.refresh("a")
    assert running.tools() == []


async def test_the_next_endpoint_is_asked_when_one_is_down(running: Running) -> None:
    running.kind.down.add("one")
    running.follow(upstream(endpoints=("one", "two")))
    await running.until(lambda: running.status() == "up")
    assert running.kind.open[0].endpoint.id == "two"


async def test_a_refresh_on_demand_returns_the_new_items(running: Running) -> None:
    running.follow(upstream())
    await running.until(lambda: running.status() == "up")
    running.kind.tools[:] = ["z"]
    discovery = await running.discoverer.refresh("a")
    assert [item.name for item in discovery.items] == ["z"]
    assert running.heard == ["a", "a"]
    assert running.tools() == ["z"]


async def test_a_removed_upstream_is_closed_and_a_changed_one_connected_anew(running: Running) -> None:
    running.follow(upstream("a"), upstream("b"))
    await running.until(lambda: running.status("a") == running.status("b") == "up")
    running.follow(upstream("a", endpoints=("two",)))
    await running.until(lambda: [one.endpoint.id for one in running.kind.open] == ["two"])
    with pytest.raises(NotFound):
        await running.discoverer.refresh("b")


async def test_an_unchanged_upstream_keeps_its_connection(running: Running) -> None:
    running.follow(upstream())
    await running.until(lambda: running.status() == "up")
    connection = running.kind.open[0]
    running.follow(upstream())
    await running.discoverer.refresh("a")
    assert running.kind.open == [connection]


async def test_an_unknown_kind_is_told(running: Running) -> None:
    running.follow(upstream(kind="rest"))
    await running.until(lambda: running.status() == "down")
    assert running.views["a"].error == "no enabled plugin offers upstreams of kind 'rest'"
