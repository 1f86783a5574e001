"""A gateway process of its own on the database of another: what one knows, the other knows."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import somebody
from house import House, OpenHouse

from toolway_testing.polling import eventually
from toolway_testing.ports import free_port
from toolway_testing.processes import serving

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(120)]


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


@pytest_asyncio.fixture
async def both(postgres_url: str, open_house: OpenHouse, tmp_path: Path) -> AsyncIterator[tuple[House, str]]:
    """A gateway of this process, and the address of another one that is a process of its own."""
    house = await open_house(database=f"literal:{postgres_url}")
    config, url, data = house.gate.gateway.config, f"http://127.0.0.1:{free_port()}", tmp_path / "other"
    data.mkdir(mode=0o700)
    (data / "root.key").write_bytes((config.gateway.data_dir / "root.key").read_bytes())
    (data / "root.key").chmod(0o600)
    gateway = {
        "bind": url.removeprefix("http://"),
        "public_url": house.url,
        "data_dir": str(data),
        "database": f"literal:{postgres_url}",
    }
    file = tmp_path / "other.toml"
    lines = [
        f"gateway = {toml(gateway)}",
        f"plugins = {toml({'enable': config.plugins.enable, **config.plugins.tables})}",
        f"upstreams = {toml(config.upstreams)}",
        f"servers = {toml(config.servers)}",
    ]
    file.write_text("\n".join(lines))
    places = (somebody.installed(tmp_path / "for-others"), Path(somebody.__file__).parent)
    with serving(file, environment={"PYTHONPATH": os.pathsep.join(map(str, places))}):
        yield house, url


async def test_a_connection_made_at_one_is_used_and_ended_at_the_other(both: tuple[House, str]) -> None:
    house, url = both

    async def is_used() -> bool:
        here, house.gate.url = house.gate.url, url
        try:
            return "result" in (await house.whoami("alice")).content
        finally:
            house.gate.url = here

    await house.connect("alice")
    await eventually(is_used, 60)

    assert (await house.gate.api("DELETE", "/connections/tracker", token="is-alice")).status == 200

    async def is_over() -> bool:
        return not await is_used()

    await eventually(is_over, 2)
