"""FastMCP's proxy in its own environment: `python fastmcp_proxy.py URL PORT default|shared`.

`default` is what its documentation shows, a new upstream session for every request; `shared` hands it one client that
is connected.
"""

import asyncio
import sys

from fastmcp import Client
from fastmcp.server import create_proxy


async def main() -> None:
    url, port, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    options = {"host": "127.0.0.1", "port": port, "log_level": "error", "show_banner": False}
    if kind == "default":
        await create_proxy(url).run_http_async(**options)
        return
    async with Client(url) as client:
        await create_proxy(client).run_http_async(**options)


asyncio.run(main())
