"""A real Prometheus reads the page, with its exemplars."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from watched import TRACE, tracing

from toolway_testing.gateway import StartGateway
from toolway_testing.polling import eventually
from toolway_testing.prometheus import prometheus

SECONDS = 30.0
pytestmark = [pytest.mark.server, pytest.mark.slow]


async def test_it_is_scraped_with_a_token(
    gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tracing(tmp_path / "installed")))
    gate = await gateway(demo=True, enable=["prometheus", "tracing"])
    await gate.gateway.kernel.catalog.refresh("demo")

    with prometheus(tmp_path, gate.url.removeprefix("http://"), gate.token) as server:

        async def told(expression: str) -> object:
            return await asyncio.to_thread(server.query, expression)

        await eventually(lambda: told("up == 1"), SECONDS)
        await gate.call("demo__add", {"a": 1, "b": 2})
        await eventually(lambda: told('toolway_calls_total{upstream="demo"} == 1'), SECONDS)
        found = await eventually(lambda: asyncio.to_thread(server.exemplars, "toolway_call_seconds_bucket"), SECONDS)

    [series] = found
    assert [each["labels"] for each in series["exemplars"]] == [{"trace_id": TRACE}]
