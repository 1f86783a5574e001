"""The example plugins at work in a real gateway in front of the demo server."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from toolway_testing.gateway import VERSION, Answer, RunningGateway, StartGateway
from toolway_testing.polling import eventually

KEY = "0123456789abcdef0123456789abcdef"


async def discovered(gate: RunningGateway) -> RunningGateway:
    await eventually(lambda: gate.gateway.plane.view("all").listed("tool"))
    return gate


async def ask_for(gate: RunningGateway, **more: Any) -> Answer:
    """A call of `add` by a client that can be asked."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
    }
    params = {"name": "demo__add", "arguments": {"a": 1, "b": 2}, "_meta": meta, **more}
    headers = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": VERSION,
        "mcp-method": "tools/call",
        "mcp-name": "demo__add",
    }
    message = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}
    async with gate.http.post(f"{gate.url}/mcp", json=message, headers=headers) as response:
        return Answer(response.status, dict(response.headers), await response.json())


async def test_header_keys_lets_known_keys_in_and_nobody_else(gateway: StartGateway, tmp_path: Path) -> None:
    table = tmp_path / "keys"
    table.touch(mode=0o600)
    table.write_text(f"alice:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    gate = await gateway(enable=["header-keys"], plugins={"header-keys": {"keys": f"file:{table}"}})

    assert (await gate.mcp("tools/list", headers={"x-api-key": KEY})).status == 200
    assert (await gate.mcp("tools/list", headers={"x-api-key": KEY[:-1] + "0"})).status == 401
    assert (await gate.mcp("tools/list", headers={"authorization": f"Bearer {KEY}"})).status == 401


async def test_tool_approval_refuses_and_asks_before_a_call(gateway: StartGateway) -> None:
    settings = {"tool-approval": {"refuse": ["demo/now"], "ask": ["demo/add"]}}
    gate = await discovered(await gateway(demo=True, enable=["tool-approval"], plugins=settings))

    assert "calls of demo/now are refused here" in json.dumps((await gate.call("demo__now")).content)
    assert "this client cannot be asked" in json.dumps((await gate.call("demo__add", {"a": 1, "b": 2})).content)

    asked = (await ask_for(gate)).content["result"]
    answers = {key: {"action": "accept", "content": {}} for key in asked["inputRequests"]}
    allowed = await ask_for(gate, requestState=asked["requestState"], inputResponses=answers)
    assert allowed.content["id"] == 7
    assert allowed.content["result"]["content"][0]["text"] == "3"


async def test_tool_approval_does_not_call_after_a_no(gateway: StartGateway) -> None:
    gate = await discovered(
        await gateway(demo=True, enable=["tool-approval"], plugins={"tool-approval": {"ask": ["*"]}})
    )

    asked = (await ask_for(gate)).content["result"]
    answers = {key: {"action": "decline"} for key in asked["inputRequests"]}
    declined = await ask_for(gate, requestState=asked["requestState"], inputResponses=answers)

    assert declined.content["result"]["isError"] is True


async def test_pass_file_resolves_the_references_of_the_configuration(gateway: StartGateway, tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    file.touch(mode=0o600)
    file.write_text("TOKEN=s3cret\n")

    gate = await gateway(enable=["pass-file"], plugins={"pass-file": {"path": str(file)}})

    assert await gate.gateway.kernel.secrets.get("pass-file:TOKEN") == "s3cret"
