"""A gateway, an authorization server (a certified OpenID Provider) and an MCP server that trusts it: all real."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import somebody
from house import House, OpenHouse, Provider, running_provider, settings
from tracker import Tracker, tracker

from toolway_testing.gateway import StartGateway


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with running_provider(tmp_path_factory.mktemp("provider")) as server:
        yield server


@pytest.fixture
def hasty_provider(tmp_path: Path) -> Iterator[Provider]:
    """One whose access tokens live for four seconds."""
    with running_provider(tmp_path, ACCESS_TTL="4") as server:
        yield server


@pytest_asyncio.fixture
async def upstream(provider: Provider) -> AsyncIterator[Tracker]:
    async with tracker(provider.issuer) as server:
        yield server


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin `somebody` can be enabled."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(somebody.installed(tmp_path / "somebody"))])


@pytest.fixture
def open_house(gateway: StartGateway, upstream: Tracker, provider: Provider, people: None) -> OpenHouse:
    """Starts a gateway that has discovered the tracker; only `lister` is connected. Takes what `settings` does."""

    async def start(server: Provider = provider, behind: Tracker = upstream, **options: Any) -> House:
        made = House(await gateway(**settings(server, behind, **options)), behind, server.gateway)
        await made.connect("lister", "eve")
        await made.discovered()
        return made

    return start


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
def database(request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings for either database."""
    if request.param == "sqlite":
        return {}
    return {"database": f"literal:{request.getfixturevalue('postgres_url')}"}


@pytest_asyncio.fixture
async def house(open_house: OpenHouse, database: dict[str, str]) -> House:
    return await open_house(**database)
