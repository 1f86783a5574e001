"""A reload of the configuration, and clients of the legacy era."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from prompt_samples import got, listed, prompt, written

from toolway.config.tables import PluginTables
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

LEGACY = "2025-06-18"


def renderers() -> set[str]:
    """The processes that fork workers, of this process."""
    found = set()
    for child in Path("/proc").iterdir():
        if not child.name.isdigit():
            continue
        try:
            words = (child / "cmdline").read_bytes()
            parent = (child / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if b"toolway_prompts.worker" in words and parent == str(os.getpid()):
            found.add(child.name)
    return found


async def test_a_reload_leaves_the_workers_as_they_are_unless_their_bounds_change(
    gateway: StartGateway, tmp_path: Path
) -> None:
    upstream = {"name": "team", "kind": "prompts", "directory": str(written(tmp_path / "prompts"))}
    gate = await gateway(enable=["prompts"], upstreams=[upstream])
    await eventually(lambda: _is_listed(gate, "team__review"))
    await got(gate, "team__review", code="x")
    before = renderers()

    await gate.reload(servers=({"name": "other"},))
    assert await got(gate, "team__review", code="x") and renderers() == before
    await gate.reload(plugins=PluginTables(enable=["prompts"], prompts={"output_kib": 512, "workers": 1}))
    await eventually(lambda: not renderers() & before)
    assert (await got(gate, "team__review", code="x"))[0].startswith("Review this")
    assert len(renderers()) == 1


async def _is_listed(gate: RunningGateway, name: str) -> bool:
    return name in await listed(gate)


async def test_a_legacy_client_gets_prompts_and_completions(gateway: StartGateway) -> None:
    gate = await gateway(enable=["prompts"])
    argument = {"name": "who", "json_schema": {"enum": ["Ann", "Bob"]}}
    await gate.api("POST", "/prompt-collections", {"name": "hello", "prompts": [{**prompt(), "arguments": [argument]}]})
    await eventually(lambda: _is_listed(gate, "hello__greet"))
    about = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}}
    begun, headers = await _legacy(gate, {}, "initialize", about)
    session = {"mcp-session-id": headers["Mcp-Session-Id"], "mcp-protocol-version": LEGACY}

    found, _ = await _legacy(gate, session, "prompts/list", {})
    gotten, _ = await _legacy(gate, session, "prompts/get", {"name": "hello__greet", "arguments": {"who": "Ann"}})
    ref, typed = {"type": "ref/prompt", "name": "hello__greet"}, {"name": "who", "value": "b"}
    completed, _ = await _legacy(gate, session, "completion/complete", {"ref": ref, "argument": typed})

    assert begun["capabilities"]["prompts"] == {"listChanged": True} and "completions" in begun["capabilities"]
    assert [each["name"] for each in found["prompts"]] == ["hello__greet"]
    assert gotten["messages"] == [{"role": "user", "content": {"type": "text", "text": "Hello Ann."}}]
    assert completed["completion"]["values"] == ["Bob"]


async def _legacy(gate: RunningGateway, session: dict[str, str], method: str, params: Any) -> tuple[Any, Any]:
    headers = {"accept": "application/json, text/event-stream", **session}
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    async with gate.http.post(f"{gate.url}/mcp", json=message, headers=headers) as response:
        text = await response.text()
        if response.content_type == "text/event-stream":
            text = next(line[6:] for line in text.splitlines() if line.startswith("data: {"))
        return json.loads(text)["result"], response.headers
