"""An MCP server of the handshake era on standard input and output.

`wait` answers once the file exists that the command line names; `ask` asks the client what to answer.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

Message = dict[str, Any]

RELEASED = Path(sys.argv[1])
asking: dict[str, Any] = {}


def send(**message: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def text(request_id: Any, said: str) -> None:
    send(id=request_id, result={"content": [{"type": "text", "text": said}]})


def wait(request_ids: list[Any]) -> None:
    """Answer what waits, all by one thread."""
    while True:
        while RELEASED.exists() and request_ids:
            text(request_ids.pop(), "released")
        time.sleep(0.01)


def answer(message: Message, waiting: list[Any]) -> None:
    method, request_id = message.get("method"), message.get("id")
    if method == "initialize":
        info = {"name": "patient", "version": "1"}
        version = message["params"]["protocolVersion"]
        send(id=request_id, result={"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info})
    elif method == "tools/list":
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("wait", "ask")]
        send(id=request_id, result={"tools": tools})
    elif method == "tools/call" and message["params"]["name"] == "wait":
        waiting.append(request_id)
    elif method == "tools/call":
        asking["question"] = request_id
        schema = {"type": "object", "properties": {}}
        send(id="question", method="elicitation/create", params={"message": "?", "requestedSchema": schema})
    elif method is None:
        text(asking.pop(str(request_id)), json.dumps(message["result"]))
    elif request_id is not None:
        send(id=request_id, error={"code": -32601, "message": "not known"})


if __name__ == "__main__":
    held: list[Any] = []
    threading.Thread(target=wait, args=[held], daemon=True).start()
    for line in sys.stdin:
        answer(json.loads(line), held)
