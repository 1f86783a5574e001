"""A small MCP server for first steps: `python -m toolway.cli.demo` speaks both eras on standard input and output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from toolway import __version__
from toolway.mcp.versions import MODERN, PROTOCOL_VERSION_KEY, negotiate

INFO = {"name": "toolway-demo", "title": "Toolway demo", "version": __version__}
CAPABILITIES: dict[str, Any] = {"tools": {}, "prompts": {}, "resources": {}}
HELLO = {"capabilities": CAPABILITIES, "serverInfo": INFO}
ABOUT = "This is the small MCP server that comes with Toolway. Remove it by starting without --demo."

Result = dict[str, Any]


class Refused(Exception):
    """A JSON-RPC error: code and message."""


def _tool(name: str, description: str, **properties: dict[str, Any]) -> Result:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    hints = {"readOnlyHint": True, "idempotentHint": True, "openWorldHint": False}
    return {"name": name, "description": description, "inputSchema": schema, "annotations": hints}


TOOLS = [
    _tool("echo", "Give the text back.", text={"type": "string", "description": "What to give back."}),
    _tool("add", "Add two numbers.", a={"type": "number"}, b={"type": "number"}),
    _tool("now", "The current time in UTC."),
]
ACTIONS: dict[str, Callable[[Result], str]] = {
    "echo": lambda arguments: str(arguments["text"]),
    "add": lambda arguments: str(arguments["a"] + arguments["b"]),
    "now": lambda _: datetime.now(UTC).isoformat(timespec="seconds"),
}
NAME = {"name": "name", "description": "Whom to greet.", "required": True}
PROMPT = {"name": "greet", "description": "Greet somebody.", "arguments": [NAME]}
RESOURCE = {"uri": "demo://about", "name": "about", "mimeType": "text/plain", "description": "What this server is."}


def call_tool(params: Result) -> Result:
    """Run one; wrong arguments are a tool error that the model can read."""
    action, given = _known(ACTIONS, params.get("name")), params.get("arguments")
    arguments = given if isinstance(given, dict) else {}
    wrong = [
        complaint for tool in TOOLS if tool["name"] == params["name"] for complaint in _complaints(tool, arguments)
    ]
    text = f"the arguments do not fit the tool's schema: {', '.join(wrong)}" if wrong else action(arguments)
    return {"content": [{"type": "text", "text": text}], "isError": bool(wrong)}


def _complaints(tool: Result, arguments: Result) -> Iterator[str]:
    for name, schema in tool["inputSchema"]["properties"].items():
        if name not in arguments:
            yield f"{name!r} is missing"
        elif schema["type"] == "number" and not isinstance(arguments[name], int | float):
            yield f"{name!r} must be a number"


def get_prompt(params: Result) -> Result:
    """The greeting."""
    _known({"greet": PROMPT}, params.get("name"))
    text = f"Greet {(params.get('arguments') or {}).get('name', 'the reader')} warmly, in one sentence."
    return {"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}


def read_resource(params: Result) -> Result:
    """The text about this server."""
    _known({"demo://about": RESOURCE}, params.get("uri"))
    return {"contents": [{"uri": "demo://about", "mimeType": "text/plain", "text": ABOUT}]}


METHODS: dict[str, Callable[[Result], Result]] = {
    "initialize": lambda params: {**HELLO, "protocolVersion": negotiate(str(params.get("protocolVersion")))},
    "server/discover": lambda _: {"supportedVersions": list(MODERN), "capabilities": CAPABILITIES},
    "ping": lambda _: {},
    "tools/list": lambda _: {"tools": TOOLS},
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
    response, params = {"jsonrpc": "2.0", "id": message["id"]}, message.get("params") or {}
    try:
        result = _known(METHODS, message.get("method"), -32601)(params)
    except Refused as refused:
        code, text = refused.args
        return {**response, "error": {"code": code, "message": text}}
    if PROTOCOL_VERSION_KEY in (params.get("_meta") or {}):
        result |= {"resultType": "complete", "ttlMs": 60_000, "cacheScope": "public"}
    return {**response, "result": result}


def _known(table: dict[str, Any], name: object, code: int = -32602) -> Any:
    if str(name) not in table:
        raise Refused(code, f"Not known here: {name}")
    return table[str(name)]


def main() -> None:
    """Serve standard input and output until the other side closes them."""
    for line in sys.stdin:
        if line.strip() and (response := answer(json.loads(line))) is not None:
            print(json.dumps(response), flush=True)


if __name__ == "__main__":
    main()
