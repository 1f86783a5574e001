"""A stdio MCP server of both eras that answers at once: one line in, one line out, nothing but the standard library."""

import json
import sys
from typing import Any

TOOL = {
    "name": "echo",
    "description": "Repeats its text.",
    "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
}
LISTED = {"resultType": "complete", "ttlMs": 60_000, "cacheScope": "public"}
INFO = {"name": "bench", "version": "1"}


def result(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """The result of a request, None for a method that is not known."""
    match method:
        case "tools/call":
            content = [{"type": "text", "text": params["arguments"]["text"]}]
            return {"resultType": "complete", "content": content, "isError": False}
        case "tools/list":
            return {**LISTED, "tools": [TOOL]}
        case "server/discover":
            meta = {"io.modelcontextprotocol/serverInfo": INFO}
            return {**LISTED, "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "_meta": meta}
        case "initialize":
            return {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": INFO}
        case "ping":
            return {}
    return None


for line in sys.stdin.buffer:
    message = json.loads(line)
    if "id" not in message or "method" not in message:
        continue
    found = result(message["method"], message.get("params", {}))
    answer = {"error": {"code": -32601, "message": "Method not found"}} if found is None else {"result": found}
    text = json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}, separators=(",", ":"))
    sys.stdout.buffer.write(text.encode() + b"\n")
    sys.stdout.buffer.flush()
