"""A one-time token and a call that asks its client: the answer belongs to the call that the token was used for."""

from __future__ import annotations

import json
from typing import Any

import pytest
import pytest_asyncio

from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

pytest.importorskip("toolway_tool_approval")

VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
}


@pytest_asyncio.fixture
async def gate(gateway: StartGateway) -> RunningGateway:
    """A gateway that lets every call of the demo server wait for a yes."""
    approval = {"ask": ["demo/*"]}
    gate = await gateway(enable=["tokens", "tool-approval"], plugins={"tool-approval": approval}, demo=True)
    await eventually(lambda: gate.gateway.plane.view("all").listed("tool"))
    return gate


async def call(gate: RunningGateway, token: str, **more: Any) -> tuple[int, Any]:
    params = {"name": "demo__echo", "arguments": {"text": "hello"}, **more, "_meta": META}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = {
        "accept": "application/json, text/event-stream",
        "authorization": f"Bearer {token}",
        "mcp-protocol-version": VERSION,
        "mcp-method": "tools/call",
        "mcp-name": "demo__echo",
    }
    async with gate.http.post(f"{gate.url}/servers/all/mcp", json=message, headers=headers) as response:
        text = await response.text()
        return response.status, json.loads(text.partition("data: ")[2] or text)


async def test_the_answer_may_be_sent_with_the_token_and_nothing_else(gate: RunningGateway) -> None:
    token = (await gate.api("POST", "/tokens", {"single_use": True})).content["token"]
    _, asked = await call(gate, token)
    (question,) = asked["result"]["inputRequests"]
    assert (await call(gate, token))[0] == 401

    answers = {question: {"action": "accept", "content": {}}}
    status, answer = await call(gate, token, requestState=asked["result"]["requestState"], inputResponses=answers)

    assert status == 200 and answer["result"]["content"][0]["text"] == "hello"
    assert (await call(gate, token))[0] == 401
