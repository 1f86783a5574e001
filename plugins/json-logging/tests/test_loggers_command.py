"""`toolway loggers` as a person types it, against a gateway."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from toolway.cli.app import run
from toolway_testing.gateway import StartGateway


async def test_levels_are_shown_set_and_reset(
    gateway: StartGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    gate = await gateway(enable=["json-logging"], plugins={"json-logging": {"access": "none"}})
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def type_in(*arguments: str) -> Any:
        where = ["--json", "--url", gate.url, "--token", gate.token]
        monkeypatch.setattr(sys, "argv", ["toolway", "loggers", *arguments, *where])
        with pytest.raises(SystemExit) as ended:
            run()
        assert not ended.value.code
        sys.stdout.flush()
        return json.loads(capfd.readouterr().out)

    set_to = await asyncio.to_thread(type_in, "set", "toolway.x", "debug", "--seconds", "60")
    assert (set_to[0]["level"], set_to[0]["changed"]) == ("DEBUG", "DEBUG")
    shown = await asyncio.to_thread(type_in)
    assert [each["name"] for each in shown] == ["root", "toolway.x"]
    assert len(await asyncio.to_thread(type_in, "--all")) > 2
    reset = await asyncio.to_thread(type_in, "reset", "toolway.x")
    assert reset[0]["changed"] is None
