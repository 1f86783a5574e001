"""An MCP server of 2025-11-25 that remembers what it has seen: `python remembering.py [--port PORT]`.

Its tool `recall` tells its process id, how many sessions it was asked for, how often its resource was read, and the
credential of the call. Without a port it speaks on standard input and output.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from aiohttp import web

VERSION = "2025-11-25"
ABOUT = {
    "protocolVersion": VERSION,
    "capabilities": {"tools": {}, "resources": {}},
    "serverInfo": {"name": "remembering", "version": "1"},
}
SESSION = "mcp-session-id"


class Server:
    """What it remembers; `name` begins the names of what it offers."""

    def __init__(self, name: str) -> None:
        self.name, self.sessions, self.reads = name, 0, 0

    def answer(self, message: dict[str, Any], credential: str = "") -> dict[str, Any] | None:
        """The response to one message; None for notifications."""
        if "id" not in message:
            return None
        return {"jsonrpc": "2.0", "id": message["id"], "result": self._result(message["method"], credential)}

    def _result(self, method: str, credential: str) -> dict[str, Any]:
        uri = f"{self.name}://diary"
        if method == "initialize":
            self.sessions += 1
            return ABOUT
        if method == "tools/list":
            hints = {"readOnlyHint": True}
            return {"tools": [{"name": f"recall_{self.name}", "inputSchema": {"type": "object"}, "annotations": hints}]}
        if method == "resources/list":
            return {"resources": [{"uri": uri, "name": f"diary_{self.name}"}]}
        if method == "resources/read":
            self.reads += 1
            return {"contents": [{"uri": uri, "text": f"read {self.reads} times"}]}
        if method == "tools/call":
            seen = {"pid": os.getpid(), "sessions": self.sessions, "reads": self.reads, "credential": credential}
            return {"content": [{"type": "text", "text": json.dumps(seen)}]}
        return {}


async def serve(port: int) -> None:
    """Until it is ended."""
    server, app = Server("http"), web.Application()

    async def post(request: web.Request) -> web.Response:
        message = await request.json()
        if message["method"] != "initialize" and SESSION not in request.headers:
            return web.Response(status=400, text="no session")
        answer = server.answer(message, request.headers.get("authorization", ""))
        if answer is None:
            return web.Response(status=202)
        return web.json_response(answer, headers={SESSION: f"session-{server.sessions}"})

    async def other(request: web.Request) -> web.Response:
        return web.Response(status=405 if request.method == "GET" else 200)

    app.router.add_post("/mcp", post)
    app.router.add_route("*", "/mcp", other)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print(f"listening on {port}", flush=True)
    await asyncio.Event().wait()


def talk() -> None:
    """On standard input and output, until the other side closes them."""
    server = Server("stdio")
    for line in sys.stdin:
        if (answer := server.answer(json.loads(line))) is not None:
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(serve(int(sys.argv[2])))
    else:
        talk()
