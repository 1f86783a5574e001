"""`toolway connections`, against a gateway."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from house import House


async def toolway(house: House, *arguments: str, who: str = "alice") -> tuple[int, str, str]:
    """Exit code, output and messages of a command."""
    command = Path(sys.executable).with_name("toolway")
    known = {"TOOLWAY_URL": house.gate.url, "TOOLWAY_TOKEN": f"is-{who}"}
    process = await asyncio.create_subprocess_exec(
        command, "connections", *arguments, env={**os.environ, **known}, stdout=-1, stderr=-1
    )
    output, messages = await process.communicate()
    return process.returncode or 0, output.decode(), messages.decode()


async def test_connections_are_made_listed_and_revoked(house: House) -> None:
    code, output, messages = await toolway(house, "connect", "tracker")
    assert (code, "good for once" in messages) == (0, True), messages
    assert json.loads(output)["url"].startswith(f"{house.url}/user-oauth/connect/")

    await house.connect("alice")
    code, output, _ = await toolway(house, "list")
    assert (code, "tracker" in output) == (0, True)

    code, _, messages = await toolway(house, "revoke", "tracker")
    assert (code, "ended here and there" in messages) == (0, True), messages
    code, _, messages = await toolway(house, "revoke", "tracker")
    assert (code, "connections has no 'tracker'" in messages) != (0, True), messages
