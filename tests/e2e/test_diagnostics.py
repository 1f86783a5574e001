"""A report of a gateway with everything that tells something in it."""

from __future__ import annotations

import io
import json
import zipfile
from importlib.metadata import entry_points

import pytest

from toolway_testing.gateway import StartGateway

pytest.importorskip("toolway_diagnostics")

TELLING = ("autotune", "balancer", "breaker", "cache", "rate-limit", "reload")


async def test_every_plugin_that_tells_something_is_in_the_report(gateway: StartGateway) -> None:
    installed = {each.name for each in entry_points(group="toolway.plugins")}
    telling = [name for name in TELLING if name in installed]
    gate = await gateway(demo=True, enable=["diagnostics", *telling])

    headers = {"authorization": f"Bearer {gate.token}"}
    async with gate.http.get(f"{gate.url}/api/v1/diagnostics/bundle", headers=headers) as response:
        content = await response.read()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        report = json.loads(archive.read("report.json"))

    assert [name.removeprefix("plugin ") for name in report if name.startswith("plugin ")] == telling
    assert [name for name, section in report.items() if isinstance(section, dict) and "failed" in section] == []
