"""Programs whose environment has secrets: a rotated one reaches them."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest
from upstream_parts import Literals, call, leg, stdio_upstream

from toolway.bundled.upstreams import stdio
from toolway.bundled.upstreams.stdio import StdioKind
from toolway.errors import SecretUnavailable
from toolway.hookspecs.routing import Connection
from toolway_testing.polling import eventually

PROGRAM = """
import json, os, sys, time
for line in sys.stdin:
    message = json.loads(line)
    name, number = message.get("params", {}).get("name"), message.get("id")
    if message.get("method") == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
    else:
        result = {"token": os.environ["TOKEN"], "pid": os.getpid()}
    if name == "slow":
        time.sleep(0.3)
    if number is not None:
        print(json.dumps({"jsonrpc": "2.0", "id": number, "result": result}), flush=True)
"""


class Rotating(Literals):
    """Every reference has one value, None while it is not to be had."""

    def __init__(self) -> None:
        self.value: str | None = "first"

    async def get(self, reference: str) -> str:
        if self.value is None:
            raise SecretUnavailable("it is away")
        return self.value


async def told(connection: Connection, tool: str = "any") -> dict[str, Any]:
    result: dict[str, Any] = json.loads(bytes((await connection.request(call(tool))).result or b"{}"))
    return result


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_rotated_secret_starts_the_program_anew_once_no_call_runs(
    era: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdio, "FOLLOW_SECONDS", 0.02)
    secrets = Rotating()
    kind = StdioKind(secrets)
    upstream = stdio_upstream(kind, sys.executable, "-c", PROGRAM, env={"TOKEN": "rotating:token"})
    connection = kind.connect(upstream, upstream.endpoints[0], leg(era))
    first = await told(connection)
    slow = asyncio.create_task(told(connection, "slow"))
    await asyncio.sleep(0)

    secrets.value = "second"

    assert await slow == first

    async def is_new() -> bool:
        return bool((await told(connection))["token"] == "second")

    await eventually(is_new, 3.0, 0.05)
    new = await told(connection)
    secrets.value = None
    await asyncio.gather(*(told(connection) for _ in range(5)))
    assert await told(connection) == new != first
    await connection.close()
