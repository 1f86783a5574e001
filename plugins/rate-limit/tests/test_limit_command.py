"""`toolway rate-limits` as a person types it, against a gateway."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest

from toolway.cli.app import run
from toolway_testing.gateway import RunningGateway, StartGateway


async def typed(gate: RunningGateway, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["toolway", "--url", gate.url, "--token", gate.token, *arguments])

    def running() -> int:
        with pytest.raises(SystemExit) as ended:
            run()
        return int(ended.value.code or 0)

    return await asyncio.to_thread(running)


async def test_the_limits_are_shown(
    gateway: StartGateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = [{"name": "callers", "rate": "30/m"}, {"name": "few", "by": "server", "concurrent": 3}]
    gate = await gateway(enable=["rate-limit"], plugins={"rate-limit": {"rules": rules}})

    assert await typed(gate, monkeypatch, "rate-limits") == 0
    table = capsys.readouterr()
    assert await typed(gate, monkeypatch, "--json", "rate-limits") == 0

    shown = json.loads(capsys.readouterr().out)
    assert "callers" in table.out and "30/m" in table.out
    assert [(rule["name"], rule["rate"], rule["burst"], rule["concurrent"]) for rule in shown] == [
        ("callers", "30/m", 60, None),
        ("few", None, None, 3),
    ]
    assert "counts alone" in table.err and "shed: 0 first, 0 normal, 0 last" in table.err
