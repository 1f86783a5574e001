"""A real MCP server that wants tokens of one authorization server, made with the SDK; misbehaves on order."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import jwt
import uvicorn
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from pydantic import AnyHttpUrl
from starlette.types import ASGIApp, Receive, Scope, Send

from toolway_testing.polling import eventually


class Tracker:
    """`refused` are tokens that it does not accept any more; `orders` are answers in place of the next calls'."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.url = f"{self.origin}/mcp"
        self.seen: list[str] = []
        self.refused: set[str] = set()
        self.orders: list[tuple[int, str]] = []
        self._app: ASGIApp = self._server().streamable_http_app()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or do as ordered."""
        headers = dict(scope.get("headers", ()))
        if self.orders and headers.get(b"mcp-name") == b"whoami":
            status, challenge = self.orders.pop(0)
            fields = [(b"www-authenticate", challenge.encode()), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": status, "headers": fields})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._app(scope, receive, send)

    async def verify_token(self, token: str) -> AccessToken | None:
        """Only tokens of the issuer that are meant for this server (RFC 8707)."""
        self.seen.append(token)
        if token in self.refused:
            return None
        try:
            claims = await self._claims(token)
        except jwt.PyJWTError:
            return None
        scopes = str(claims.get("scope", "")).split()
        return AccessToken(token=token, client_id=str(claims["client_id"]), scopes=scopes, subject=str(claims["sub"]))

    async def _claims(self, token: str) -> dict[str, object]:
        async with aiohttp.ClientSession() as http, http.get(f"{self.issuer}/jwks") as answer:
            keys = jwt.PyJWKSet.from_dict(await answer.json())
        key = keys[jwt.get_unverified_header(token)["kid"]]
        return jwt.decode(token, key, algorithms=["RS256"], audience=self.url, issuer=self.issuer)

    def _server(self) -> MCPServer:
        auth = AuthSettings(
            issuer_url=AnyHttpUrl(self.issuer),
            resource_server_url=AnyHttpUrl(self.url),
            required_scopes=["mcp:read"],
            validate_token_resource=False,
        )
        server = MCPServer("tracker", token_verifier=self, auth=auth)

        async def whoami() -> str:
            """Tell whose token the call carries."""
            token = get_access_token()
            return f"{token.subject} may {' '.join(token.scopes)}" if token else "nobody"

        server.tool()(whoami)
        return server


@asynccontextmanager
async def tracker(issuer: str) -> AsyncIterator[Tracker]:
    """One that serves until the block ends."""
    made = Tracker(issuer)
    config = uvicorn.Config(made, log_level="error", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[made.listener]))
    await eventually(lambda: server.started)
    yield made
    server.should_exit = True
    await task
