"""A gateway with the plugin, and people: the team `ops` of Olga (owner), Max (member) and Vera (viewer), and Fred."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from toolway_testing.gateway import StartGateway
from toolway_testing.polling import eventually
from toolway_testing.trusting import People, installed

TEAM = {"user:olga": "owner", "user:max": "member", "user:vera": "viewer"}
USERS = ("olga", "max", "vera", "fred")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
def database(request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings of the gateway."""
    if request.param == "sqlite":
        return {}
    return {"database": f"literal:{request.getfixturevalue('postgres_url')}"}


@pytest.fixture
def people(gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Awaitable[People]]:
    """Awaited, it starts the gateway with this baseline, and other settings of the gateway."""
    monkeypatch.syspath_prepend(str(installed(tmp_path / "installed")))

    async def start(baseline: tuple[str, ...] = ("caller",), **settings: Any) -> People:
        rbac = {"baseline": list(baseline)}
        gate = await gateway(enable=["trusting", "rbac"], plugins={"rbac": rbac}, demo=True, **settings)
        found = People(gate)
        for user in USERS:
            assert (await found.api("", "POST", "/users", {"name": user})).status == 201
        assert (await found.api("", "POST", "/teams", {"name": "ops", "members": TEAM})).status == 201
        await eventually(lambda: _has_items(found))
        return found

    return start


async def _has_items(people: People) -> bool:
    return bool((await people.api("", "GET", "/items")).content["items"])
