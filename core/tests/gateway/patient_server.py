"""An MCP server of the handshake era on standard input and output: its tools wait until they are told to go on.

`wait` answers when `release` was called; `ask` asks the client what to answer.
"""

from __future__ import annotations

import json
import sys
from typing import Any

Message = dict[str, Any]

waiting: list[Any] = []
asking: dict[str, Any] = {}


def send(**message: Any) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def text(request_id: Any, said: str) -> None:
    send(id=request_id, result={"content": [{"type": "text", "text": said}]})


def call(request_id: Any, tool: str) -> None:
    if tool == "wait":
        waiting.append(request_id)
    elif tool == "ask":
        question = f"question-{request_id}"
        asking[question] = request_id
        schema = {"type": "object", "properties": {}}
        send(id=question, method="elicitation/create", params={"message": "?", "requestedSchema": schema})
    else:
        text(request_id, str(len(waiting)))
        while waiting:
            text(waiting.pop(), "released")


def answer(message: Message) -> None:
    method, request_id = message.get("method"), message.get("id")
    if method == "initialize":
        info = {"name": "patient", "version": "1"}
        version = message["params"]["protocolVersion"]
        send(id=request_id, result={"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info})
    elif method == "tools/list":
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("wait", "ask", "release")]
        send(id=request_id, result={"tools": tools})
    elif method == "tools/call":
        call(request_id, message["params"]["name"])
    elif method is None:
        text(asking.pop(str(request_id)), json.dumps(message["result"]))
    elif request_id is not None:
        send(id=request_id, error={"code": -32601, "message": "not known"})


if __name__ == "__main__":
    for line in sys.stdin:
        answer(json.loads(line))
