"""A small MCP server for first steps: `python -m toolway.demo` speaks both eras on standard input and output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from toolway import __version__
from toolway.mcp.versions import MODERN, PROTOCOL_VERSION_KEY, negotiate

INFO = {"name": "toolway-demo", "title": "Toolway demo", "version": __version__}
CAPABILITIES: dict[str, Any] = {"tools": {}, "prompts": {}, "resources": {}}
READ_ONLY = {"readOnlyHint": True, "idempotentHint": True, "openWorldHint": False}

Result = dict[str, Any]


class Refused(Exception):
    """A JSON-RPC error: code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def _schema(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


TOOLS: dict[str, tuple[str, dict[str, Any], Callable[[dict[str, Any]], str]]] = {
    "echo": (
        "Give the text back.",
        _schema(text={"type": "string", "description": "What to give back."}),
        lambda arguments: str(arguments["text"]),
    ),
    "add": (
        "Add two numbers.",
        _schema(a={"type": "number"}, b={"type": "number"}),
        lambda arguments: str(arguments["a"] + arguments["b"]),
    ),
    "now": ("The current time in UTC.", _schema(), lambda _: datetime.now(UTC).isoformat(timespec="seconds")),
}
PROMPT = {
    "name": "greet",
    "description": "Greet somebody.",
    "arguments": [{"name": "name", "description": "Whom to greet.", "required": True}],
}
RESOURCE = {"uri": "demo://about", "name": "about", "mimeType": "text/plain", "description": "What this server is."}
ABOUT = "This is the small MCP server that comes with Toolway. Remove it by starting without --demo."


def list_tools(_: Result) -> Result:
    """All three tools."""
    entries = [
        {"name": name, "description": description, "inputSchema": schema, "annotations": READ_ONLY}
        for name, (description, schema, _) in TOOLS.items()
    ]
    return {"tools": entries}


def call_tool(params: Result) -> Result:
    """Run one; wrong arguments are a tool error that the model can read."""
    known = TOOLS.get(str(params.get("name")))
    if known is None:
        raise Refused(-32602, f"Unknown tool: {params.get('name')}")
    try:
        text, failed = known[2](params.get("arguments") or {}), False
    except (KeyError, TypeError) as error:
        text, failed = f"the arguments do not fit the tool's schema: {error}", True
    return {"content": [{"type": "text", "text": text}], "isError": failed}


def get_prompt(params: Result) -> Result:
    """The greeting."""
    if params.get("name") != PROMPT["name"]:
        raise Refused(-32602, f"Unknown prompt: {params.get('name')}")
    text = f"Greet {(params.get('arguments') or {}).get('name', 'the reader')} warmly, in one sentence."
    return {"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}


def read_resource(params: Result) -> Result:
    """The text about this server."""
    if params.get("uri") != RESOURCE["uri"]:
        raise Refused(-32602, f"Resource not found: {params.get('uri')}")
    return {"contents": [{"uri": RESOURCE["uri"], "mimeType": "text/plain", "text": ABOUT}]}


def initialize(params: Result) -> Result:
    """The handshake of 2025-11-25 and earlier."""
    version = negotiate(str(params.get("protocolVersion")))
    return {"protocolVersion": version, "capabilities": CAPABILITIES, "serverInfo": INFO}


def discover(_: Result) -> Result:
    """The discovery of 2026-07-28."""
    return {"supportedVersions": list(MODERN), "capabilities": CAPABILITIES}


METHODS: dict[str, Callable[[Result], Result]] = {
    "initialize": initialize,
    "server/discover": discover,
    "ping": lambda _: {},
    "tools/list": list_tools,
    "tools/call": call_tool,
    "prompts/list": lambda _: {"prompts": [PROMPT]},
    "prompts/get": get_prompt,
    "resources/list": lambda _: {"resources": [RESOURCE]},
    "resources/templates/list": lambda _: {"resourceTemplates": []},
    "resources/read": read_resource,
}


def answer(message: Result) -> Result | None:
    """The response to one message; None for notifications."""
    if "id" not in message:
        return None
    params = message.get("params") or {}
    try:
        method = METHODS.get(str(message.get("method")))
        if method is None:
            raise Refused(-32601, f"Method not found: {message.get('method')}")
        result = method(params)
    except Refused as refused:
        return {"jsonrpc": "2.0", "id": message["id"], "error": {"code": refused.code, "message": str(refused)}}
    if PROTOCOL_VERSION_KEY in (params.get("_meta") or {}):
        result |= {"resultType": "complete", "ttlMs": 60_000, "cacheScope": "public"}
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


def main() -> None:
    """Serve standard input and output until the other side closes them."""
    for line in sys.stdin:
        if line.strip() and (response := answer(json.loads(line))) is not None:
            print(json.dumps(response), flush=True)


if __name__ == "__main__":
    main()
