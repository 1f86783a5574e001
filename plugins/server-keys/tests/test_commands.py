"""`toolway server-keys …` as a person types it, against a gateway."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest

from toolway.cli.app import run
from toolway_testing.gateway import StartGateway


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Awaited with arguments: exit code, what was printed, and what was told."""

    async def type_in(gate: Any, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["toolway", "--url", gate.url, "--token", gate.token, *arguments])

        def running() -> int:
            with pytest.raises(SystemExit) as ended:
                run()
            return int(ended.value.code or 0)

        code = await asyncio.to_thread(running)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return type_in


async def test_a_key_is_made_listed_rotated_and_revoked(gateway: StartGateway, typed: Any) -> None:
    servers = [{"name": name} for name in ("billing", "support")]
    gate = await gateway(enable=["server-keys"], servers=servers)

    options = ("--name", "report", "--ttl", "30d", "--network", "127.0.0.0/8", "--tool", "a/*")
    code, out, told = await typed(gate, "server-keys", "create", "billing", "support", *options)
    made = json.loads(out)
    assert code == 0 and made["servers"] == ["billing", "support"] and made["networks"] == ["127.0.0.0/8"]
    assert "not shown again" in told and made["key"] not in told

    _, listed, _ = await typed(gate, "server-keys", "list", "--server", "support")
    assert made["name"] in listed and "report" in listed and made["key"] not in listed
    _, out, told = await typed(gate, "server-keys", "rotate", made["name"], "--grace", "1h")
    assert json.loads(out)["key"] != made["key"] and "the one before works until" in told
    _, out, told = await typed(gate, "server-keys", "rotate", made["name"], "--grace", "0s")
    assert "the one before is over" in told
    assert (await typed(gate, "server-keys", "revoke", made["name"]))[0] == 0
    _, out, _ = await typed(gate, "server-keys", "get", made["name"])
    assert json.loads(out)["state"] == "revoked"

    code, _, told = await typed(gate, "server-keys", "create", "absent")
    assert code != 0 and "servers has no 'absent'" in told
