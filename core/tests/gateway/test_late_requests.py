"""A request whose body comes late, after what it was let in for has changed."""

from __future__ import annotations

import asyncio
import json

from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

VERSION = "2026-07-28"
META = {"io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {}}
BODY = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}).encode()
HEAD = (
    "POST /servers/open/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/list\r\n"
    f"Expect: 100-continue\r\nConnection: close\r\nContent-Length: {len(BODY)}\r\n\r\n"
)


async def tools(gate: RunningGateway) -> set[str]:
    answer = await gate.mcp("tools/list", server="open")
    return {tool["name"] for tool in answer.content["result"]["tools"]}


async def test_a_list_that_was_asked_for_before_a_change_is_not_kept_for_those_who_ask_after_it(
    gateway: StartGateway,
) -> None:
    gate = await gateway(demo=True)
    made = {"name": "open", "access": "public", "include": ["demo/*"], "naming": "prefix"}
    assert (await gate.api("POST", "/servers", made)).status == 201
    await eventually(lambda: gate.gateway.plane.view("open").listed("tool"))
    reader, writer = await asyncio.open_connection(*gate.url.removeprefix("http://").split(":"))
    writer.write(HEAD.encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")  # it is let in, with what is there now

    changed = {**(await gate.api("GET", "/servers/open")).content, "naming": "plain"}
    assert (await gate.api("PUT", "/servers/open", changed)).status == 200
    await eventually(lambda: gate.gateway.plane.view("open").settings.naming == "plain")
    writer.write(BODY)
    late = await reader.read()
    writer.close()

    assert b'"demo__echo"' in late
    assert "echo" in await tools(gate)
