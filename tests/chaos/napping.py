"""A modern MCP server whose tool `nap` takes as many seconds as its argument says: `python napping.py --port PORT`.

It writes down the number of each call that has one.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from aiohttp import web

VERSION = "2026-07-28"
TOOLS = [{"name": "nap", "inputSchema": {"type": "object"}}]
PILLOW = {"uri": "test://pillow", "name": "pillow"}
ABOUT = {"capabilities": {"tools": {}, "resources": {}}, "serverInfo": {"name": "napping", "version": "1"}}


async def post(request: web.Request) -> web.Response:
    """One message."""
    message = await request.json()
    return web.json_response({"jsonrpc": "2.0", "id": message.get("id"), "result": await result(message)})


async def result(message: dict[str, Any]) -> dict[str, Any]:
    """What it is answered with."""
    match message["method"]:
        case "server/discover":
            answer = {"supportedVersions": [VERSION], "ttlMs": 0, "cacheScope": "private", **ABOUT}
        case "tools/list":
            answer = {"tools": TOOLS, "ttlMs": 0, "cacheScope": "public"}
        case "resources/list":
            answer = {"resources": [PILLOW], "ttlMs": 0, "cacheScope": "public"}
        case "resources/read":
            answer = {"contents": [{"uri": PILLOW["uri"], "text": "soft"}], "ttlMs": 0, "cacheScope": "private"}
        case "tools/call":
            answer = await nap(**message["params"]["arguments"])
        case _:
            answer = {}
    return {"resultType": "complete", **answer}


async def nap(seconds: float = 0.0, number: int | None = None) -> dict[str, Any]:
    """The tool."""
    if number is not None:
        print(f"received {number}", flush=True)
    await asyncio.sleep(seconds)
    return {"content": [{"type": "text", "text": "awake"}]}


async def main(port: int) -> None:
    """Serve until it is ended."""
    app = web.Application()
    app.router.add_post("/mcp", post)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print(f"listening on {port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[2])))
