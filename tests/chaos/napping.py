"""A modern MCP server whose tool `nap` takes as many seconds as its argument says: `python napping.py --port PORT`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from aiohttp import web

VERSION = "2026-07-28"
TOOLS = [{"name": "nap", "inputSchema": {"type": "object"}}]
ABOUT = {"capabilities": {"tools": {}}, "serverInfo": {"name": "napping", "version": "1"}}


async def post(request: web.Request) -> web.Response:
    """One message."""
    message = await request.json()
    method, result = message["method"], dict[str, Any](resultType="complete")
    if method == "server/discover":
        result |= {"supportedVersions": [VERSION], "ttlMs": 0, "cacheScope": "private", **ABOUT}
    elif method == "tools/list":
        result |= {"tools": TOOLS, "ttlMs": 0, "cacheScope": "public"}
    elif method == "tools/call":
        await asyncio.sleep(message["params"]["arguments"].get("seconds", 0.0))
        result |= {"content": [{"type": "text", "text": "awake"}]}
    return web.json_response({"jsonrpc": "2.0", "id": message.get("id"), "result": result})


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
