"""A modern MCP server with the tools `echo` and `write`; `PUT /_behave` sets `seconds`, `status`, `retry_after`.

It prints `listening` when it is ready. `GET /_seen` has the number of calls, and headers and `_meta` of the last one.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from aiohttp import web

VERSION = "2026-07-28"
READING = {"readOnlyHint": True, "idempotentHint": True}
TOOLS: list[dict[str, Any]] = [
    {"name": "echo", "inputSchema": {"type": "object"}, "annotations": READING},
    {"name": "write", "inputSchema": {"type": "object"}},
]


class Behaviour:
    """What it does now, and what it saw."""

    def __init__(self) -> None:
        self.seconds, self.status, self.headers = 0.0, 200, dict[str, str]()
        self.seen: dict[str, Any] = {"calls": 0, "headers": {}, "meta": {}}

    async def post(self, request: web.Request) -> web.Response:
        message = await request.json()
        method, result = message["method"], dict[str, Any](resultType="complete")
        if method == "server/discover":
            result |= {
                "supportedVersions": [VERSION],
                "capabilities": {"tools": {}},
                "ttlMs": 0,
                "cacheScope": "private",
            }
        elif method == "tools/list":
            result |= {"tools": TOOLS, "ttlMs": 0, "cacheScope": "public"}
        elif method == "tools/call":
            told = {"headers": dict(request.headers), "meta": message["params"].get("_meta", {})}
            self.seen = {"calls": self.seen["calls"] + 1, **told}
            await asyncio.sleep(self.seconds)
            if self.status != 200:
                return web.Response(status=self.status, headers=self.headers)
            result |= {"content": [{"type": "text", "text": "done"}]}
        return web.json_response({"jsonrpc": "2.0", "id": message.get("id"), "result": result})

    async def behave(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        self.seconds, self.status = wanted.get("seconds", 0.0), wanted.get("status", 200)
        self.headers = {"retry-after": str(wanted["retry_after"])} if "retry_after" in wanted else {}
        return web.Response()

    async def tell(self, request: web.Request) -> web.Response:
        return web.json_response(self.seen)


async def main(port: int) -> None:
    """Serve until it is ended."""
    behaviour, app = Behaviour(), web.Application()
    app.add_routes(
        [
            web.post("/mcp", behaviour.post),
            web.put("/_behave", behaviour.behave),
            web.get("/_seen", behaviour.tell),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("listening", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
