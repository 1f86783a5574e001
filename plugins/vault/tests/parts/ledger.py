"""A real MCP server whose one tool works with what its caller sends along: a bearer token, or a user of PostgreSQL."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import uvicorn
from credentials import Users
from mcp.server.mcpserver import MCPServer
from starlette.types import ASGIApp, Receive, Scope, Send

from toolway_testing.polling import eventually

HEADERS: ContextVar[dict[str, str]] = ContextVar("headers")


class Ledger:
    """`seen` are the Authorization headers of calls, in order."""

    def __init__(self, users: Users | None = None) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/mcp"
        self.seen: list[str] = []
        self._users = users
        self._app: ASGIApp = self._server().streamable_http_app()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        HEADERS.set({name.decode(): value.decode() for name, value in scope.get("headers", ())})
        if HEADERS.get().get("mcp-method") == "tools/call":
            self.seen.append(HEADERS.get().get("authorization", ""))
        await self._app(scope, receive, send)

    def upstream(self, auth: dict[str, str]) -> dict[str, object]:
        """The upstream `ledger` in a gateway's configuration."""
        return {"name": "ledger", "endpoints": [self.url], "allow_private": True, "auth": auth}

    async def _whoami(self) -> str:
        """Log in to the database as the user of the header, and say who that is there."""
        if self._users is None:
            return self.seen[-1]
        user, _, password = self.headers_database().partition(" ")
        return await self._users.logged_in(user, password)

    def headers_database(self) -> str:
        return HEADERS.get().get("x-database", "")

    def _server(self) -> MCPServer:
        server = MCPServer("ledger")

        async def whoami() -> str:
            """Tell who the caller is."""
            return await self._whoami()

        server.tool()(whoami)
        return server


@asynccontextmanager
async def ledger(users: Users | None = None) -> AsyncIterator[Ledger]:
    """One that serves until the block ends."""
    made = Ledger(users)
    config = uvicorn.Config(made, log_level="error", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[made.listener]))
    try:
        await eventually(lambda: server.started)
        yield made
    finally:
        server.should_exit = True
        await serving
