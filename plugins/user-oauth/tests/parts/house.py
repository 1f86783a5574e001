"""A gateway in front of the tracker, and the authorization server that the tracker trusts (an OpenID Provider)."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import programs
import running
import somebody
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from person import Person
from tracker import Tracker

from toolway_testing.gateway import RunningGateway
from toolway_testing.polling import eventually
from toolway_testing.ports import free_port

SECRET = "gateway-secret"


@dataclass(frozen=True)
class Provider:
    """The authorization server, which knows the redirect URI of a gateway on `port`."""

    issuer: str
    port: int
    log: Path

    @property
    def gateway(self) -> str:
        """The gateway's address."""
        return f"http://127.0.0.1:{self.port}"

    def requests(self, path: str) -> int:
        """How many came for that path."""
        with urllib.request.urlopen(f"{self.issuer}/_test/stats", timeout=5) as answer:
            return int(json.load(answer)["stats"].get(path, 0))

    def fail(self, path: str, status: int, count: int) -> None:
        """The next requests for that path fail."""
        order = f"{self.issuer}/_test/fail?path={path}&status={status}&count={count}"
        urllib.request.urlopen(order, data=b"", timeout=5).close()


@contextlib.contextmanager
def running_provider(directory: Path, **environment: str) -> Iterator[Provider]:
    program = programs.need("oidc-provider")
    port, gateway_port, log = free_port(), free_port(), directory / "provider.log"
    issuer = f"http://127.0.0.1:{port}"
    redirect = {"REDIRECT_URIS": f"http://127.0.0.1:{gateway_port}/user-oauth/callback"}
    known = f"{issuer}/.well-known/openid-configuration"
    command = [*program.command, str(port)]
    with running.child(
        command, log, lambda: running.answers(known), {**program.environment, **redirect, **environment}
    ):
        yield Provider(issuer, gateway_port, log)


@dataclass
class House:
    """A gateway in front of the tracker, of which discovery is done with the account of `user:lister`."""

    gate: RunningGateway
    upstream: Tracker
    url: str

    @contextlib.asynccontextmanager
    async def client(
        self, who: str, mode: str, elicit: Callable[..., Any] | None = None, heard: Callable[..., Any] | None = None
    ) -> AsyncIterator[Client]:
        """The SDK's client as somebody, which answers questions with `elicit`; notifications are `heard`."""
        async with httpx2.AsyncClient(headers=somebody.bearer(who), timeout=30) as http:
            transport = streamable_http_client(f"{self.gate.url}/servers/desk/mcp", http_client=http)
            options: dict[str, Any] = {"elicitation_callback": elicit, "message_handler": heard}
            async with Client(transport, mode=mode, cache=None, **options) as client:
                yield client

    async def link(self, who: str) -> str:
        answer = await self.gate.api("POST", "/connections", {"upstream": "tracker"}, token=f"is-{who}")
        assert answer.status == 201, answer.content
        return str(answer.content["url"])

    async def connect(self, who: str, login: str = "alice") -> None:
        async with Person(login, f"is-{who}", self.url) as person:
            done = await person.connect(await self.link(who))
        assert (done.status, "Connected" in done.text) == (200, True), done.text

    async def whoami(self, who: str) -> Any:
        return await self.gate.call("whoami", server="desk", headers=somebody.bearer(who))

    async def discovered(self) -> None:
        async def has_tools() -> bool:
            answer = await self.gate.mcp("tools/list", server="desk", headers=somebody.bearer("lister"))
            return [tool["name"] for tool in answer.content["result"]["tools"]] == ["whoami"]

        await eventually(has_tools)


OpenHouse = Callable[..., Awaitable[House]]
"""What the fixture `open_house` is."""


def settings(
    provider: Provider, upstream: Tracker, auth: dict[str, Any] | None = None, patience: float = 10, **gateway: Any
) -> dict[str, Any]:
    """What the gateway fixture takes; `auth` replaces members of the upstream's."""
    own = {
        "type": "oauth-user",
        "client_id": "gateway",
        "client_secret": f"literal:{SECRET}",
        "scopes": ["mcp:read", "offline_access", "openid"],
        "discover_as": "user:lister",
        **(auth or {}),
    }
    table = {"name": "tracker", "kind": "http", "endpoints": [upstream.url], "allow_private": True, "auth": own}
    return {
        "enable": ["user-oauth", "somebody"],
        "plugins": {"user-oauth": {"patience": patience}},
        "bind": f"127.0.0.1:{provider.port}",
        "public_url": provider.gateway,
        "upstreams": [table],
        "servers": [{"name": "desk", "naming": "plain", "include": ["tracker/*"]}],
        **gateway,
    }
