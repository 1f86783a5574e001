"""`toolway autotune …` as a person types it, against a gateway."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest

from toolway.cli.app import run
from toolway_testing.gateway import RunningGateway, StartGateway


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Awaited with arguments: exit code, what was printed, and what was told."""

    async def type_in(gate: RunningGateway, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["toolway", "--url", gate.url, "--token", gate.token, *arguments])

        def running() -> int:
            with pytest.raises(SystemExit) as ended:
                run()
            return int(ended.value.code or 0)

        code = await asyncio.to_thread(running)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return type_in


async def test_values_are_listed_pinned_reverted_and_given_back(gateway: StartGateway, typed: Any) -> None:
    gate = await gateway(enable=["autotune"], demo=True)

    async def in_flight() -> Any:
        _, out, _ = await typed(gate, "autotune", "get", "demo")
        (found,) = [each for each in json.loads(out)["values"] if each["value"] == "in_flight"]
        return found

    _, listed, _ = await typed(gate, "autotune", "list")
    assert "in_flight" in listed and "demo" in listed
    code, out, told = await typed(gate, "autotune", "pin", "demo", "--value", "in_flight", "--to", "40")
    assert code == 0 and json.loads(out)["mode"] == "observe" and "keeps in_flight" in told
    assert ((await in_flight())["in_force"], (await in_flight())["pinned"]) == (40, True)
    assert (await typed(gate, "autotune", "revert", "demo"))[0] == 0
    assert (await in_flight())["in_force"] == 64
    assert (await typed(gate, "autotune", "unpin", "demo"))[0] == 0
    assert not (await in_flight())["pinned"]
    for action, mode in (("apply", "apply"), ("observe", "observe")):
        _, out, _ = await typed(gate, "autotune", action, "demo")
        assert json.loads(out)["mode"] == mode
    assert "as the configuration says" in (await typed(gate, "autotune", "forget", "demo"))[2]
    _, out, _ = await typed(gate, "autotune", "events", "demo")
    assert "pinned, chosen by admin" in out

    code, _, told = await typed(gate, "autotune", "pin", "demo", "--value", "in_flight", "--to", "1")
    assert code != 0 and "can be 20 to 64" in told
