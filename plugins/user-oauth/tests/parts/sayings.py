"""An upstream and an authorization server in one that say whatever a test wants them to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

PROTECTED = "/.well-known/oauth-protected-resource"
SERVER = "/.well-known/oauth-authorization-server"


class Sayings:
    """`documents` are answered by path, those of `failures` with 400; `challenge` comes with the 401 at `/mcp`."""

    def __init__(self) -> None:
        self.origin, self.challenge = "", "Bearer"
        self.documents: dict[str, Any] = {}
        self.failures: dict[str, Any] = {}
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"{self.origin}/mcp"

    def metadata(self, **changed: Any) -> None:
        """Say what a good server says, but for these members (None: left out)."""
        good = {
            "issuer": self.origin,
            "authorization_endpoint": f"{self.origin}/authorize",
            "token_endpoint": f"{self.origin}/token",
            "code_challenge_methods_supported": ["S256"],
        }
        self.documents[SERVER] = {name: value for name, value in {**good, **changed}.items() if value is not None}

    def protected(self, **changed: Any) -> None:
        """Say what a good upstream says, but for these members (None: left out)."""
        good = {"resource": self.url, "authorization_servers": [self.origin]}
        said = {name: value for name, value in {**good, **changed}.items() if value is not None}
        self.documents[f"{PROTECTED}/mcp"] = said

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if request.path == "/mcp":
            return web.Response(status=401, headers={"www-authenticate": self.challenge})
        if request.path in self.failures:
            return web.json_response(self.failures[request.path], status=400)
        if request.path not in self.documents:
            return web.Response(status=404, text="<p>nothing</p>", content_type="text/html")
        said = self.documents[request.path]
        text = said if isinstance(said, str) else json.dumps(said)
        return web.Response(text=text, content_type="application/json")


@asynccontextmanager
async def saying() -> AsyncIterator[Sayings]:
    """One that says good things until a test changes them, and serves until the block ends."""
    made = Sayings()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    made.metadata()
    made.protected()
    yield made
    await runner.cleanup()
