"""OAuth client credentials against a real token endpoint."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from upstream_parts import Literals, http_upstream

from toolway.bundled.upstreams.auth import ClientCredentialsAuth, ClientCredentialsProvider
from toolway.bundled.upstreams.http import HttpKind
from toolway.bundled.upstreams.oauth import Client, ClientCredentials, TokenRefused
from toolway.clock import SystemClock
from toolway.edge.egress import EgressRefused
from toolway.errors import UpstreamError, UpstreamProtocol, UpstreamUnreachable
from toolway.hookspecs.auth import ANONYMOUS
from toolway.plugin.http import OutgoingHttp

CLIENT_ID, SECRET = "a client", "s:e/cret+ä"


class Clock:
    """Monotonic seconds that the test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class TokenServer:
    """Gives tokens t1, t2, …, unless `answer` says otherwise."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.resources: list[str] = []
        self.authorizations: list[str | None] = []
        self.answer: dict[str, Any] = {"token_type": "Bearer", "expires_in": 600}
        self.status = 200
        self.held = asyncio.Event()
        self.held.set()
        self.url = ""

    async def token(self, request: web.Request) -> web.Response:
        self.resources = [str(resource) for resource in (await request.post()).getall("resource", [])]
        self.forms.append({key: str(value) for key, value in (await request.post()).items()})
        self.authorizations.append(request.headers.get("authorization"))
        await self.held.wait()
        if self.status != 200:
            return web.json_response(self.answer, status=self.status)
        return web.json_response({"access_token": f"t{len(self.forms)}", **self.answer})


@pytest_asyncio.fixture
async def server() -> AsyncIterator[TokenServer]:
    """A running token endpoint."""
    here = TokenServer()
    app = web.Application()
    app.router.add_post("/token", here.token)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    here.url = f"http://127.0.0.1:{runner.addresses[0][1]}/token"
    yield here
    await runner.cleanup()


@pytest_asyncio.fixture
async def outgoing() -> AsyncIterator[OutgoingHttp]:
    """A client that may use loopback."""
    client = OutgoingHttp((ip_network("127.0.0.0/8"),))
    yield client
    await client.close()


async def secret() -> str:
    return SECRET


def source(outgoing: OutgoingHttp, server: TokenServer, clock: Clock, **options: Any) -> ClientCredentials:
    return ClientCredentials(outgoing, Client(server.url, CLIENT_ID, **options), secret, clock)


async def test_a_token_is_used_until_shortly_before_it_expires(outgoing: OutgoingHttp, server: TokenServer) -> None:
    clock = Clock()
    tokens = source(outgoing, server, clock)
    assert [await tokens.token(), await tokens.token()] == ["t1", "t1"]
    clock.seconds += 569.0
    assert await tokens.token() == "t1"
    clock.seconds += 2.0
    assert await tokens.token() == "t2"


async def test_a_short_lived_token_is_used_for_half_its_life(outgoing: OutgoingHttp, server: TokenServer) -> None:
    clock, server.answer["expires_in"] = Clock(), "10"
    tokens = source(outgoing, server, clock)
    await tokens.token()
    clock.seconds += 4.0
    assert await tokens.token() == "t1"
    clock.seconds += 2.0
    assert await tokens.token() == "t2"


async def test_the_client_identifies_itself_by_basic_with_encoded_parts(
    outgoing: OutgoingHttp, server: TokenServer
) -> None:
    await source(outgoing, server, Clock(), scope="read write", resources=("https://up.example/mcp",)).token()
    expected = base64.b64encode(b"a+client:s%3Ae%2Fcret%2B%C3%A4").decode()
    assert server.authorizations == [f"Basic {expected}"]
    grant = {"grant_type": "client_credentials", "scope": "read write", "resource": "https://up.example/mcp"}
    assert server.forms == [grant]


async def test_the_client_identifies_itself_by_post_where_configured(
    outgoing: OutgoingHttp, server: TokenServer
) -> None:
    await source(outgoing, server, Clock(), method="post").token()
    assert server.authorizations == [None]
    assert server.forms == [{"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": SECRET}]


async def test_concurrent_calls_share_one_request_even_when_one_gives_up(
    outgoing: OutgoingHttp, server: TokenServer
) -> None:
    tokens = source(outgoing, server, Clock())
    server.held.clear()
    waiting = [asyncio.create_task(tokens.token()) for _ in range(10)]
    while not server.forms:
        await asyncio.sleep(0.005)
    waiting[0].cancel()
    server.held.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert results[1:] == ["t1"] * 9
    assert len(server.forms) == 1


async def test_a_challenge_gets_a_new_token_at_once_but_not_again_and_again(
    outgoing: OutgoingHttp, server: TokenServer
) -> None:
    clock = Clock()
    tokens = source(outgoing, server, clock)
    assert await tokens.token() == "t1"
    assert await tokens.token(challenged=True) == "t2"
    assert await tokens.token(challenged=True) == "t2"
    clock.seconds += 2.0
    assert await tokens.token(challenged=True) == "t3"


async def test_a_refused_client_is_told_by_code_without_secrets(outgoing: OutgoingHttp, server: TokenServer) -> None:
    server.status, server.answer = 401, {"error": "invalid_client", "error_description": SECRET}
    with pytest.raises(TokenRefused) as refused:
        await source(outgoing, server, Clock()).token()
    assert "401 invalid_client" in refused.value.message
    assert SECRET not in refused.value.message
    assert refused.value.sent is False


async def test_a_failure_is_not_remembered(outgoing: OutgoingHttp, server: TokenServer) -> None:
    tokens = source(outgoing, server, Clock())
    server.status = 503
    with pytest.raises(UpstreamError):
        await tokens.token()
    server.status = 200
    assert await tokens.token() == "t2"


@pytest.mark.parametrize(
    "answer",
    [
        {"token_type": "mac"},
        {"access_token": "a b"},
        {"access_token": "a\r\nX: y"},
        {"access_token": ""},
        {"access_token": 7},
        {"expires_in": "soon"},
        {"token_type": None},
    ],
)
async def test_an_answer_without_a_usable_token_is_refused(
    answer: dict[str, Any], outgoing: OutgoingHttp, server: TokenServer
) -> None:
    server.answer |= answer
    with pytest.raises(UpstreamProtocol):
        await source(outgoing, server, Clock()).token()


async def test_a_dead_token_endpoint_means_that_nothing_was_sent(outgoing: OutgoingHttp, unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/token"
    with pytest.raises(UpstreamUnreachable) as raised:
        await ClientCredentials(outgoing, Client(url, CLIENT_ID), secret, Clock()).token()
    assert raised.value.sent is False


async def test_the_secret_is_not_sent_in_clear_across_the_internet() -> None:
    with pytest.raises(EgressRefused, match="https"):
        ClientCredentials(OutgoingHttp(), Client("http://as.example/token", CLIENT_ID), secret, Clock())
    ClientCredentials(OutgoingHttp(), Client("https://as.example/token", CLIENT_ID), secret, Clock())


@pytest.mark.parametrize(
    ("settings", "resources"),
    [({}, ["https://up.example/mcp", "https://up2.example"]), ({"resource": "urn:api"}, ["urn:api"])],
)
async def test_the_token_is_asked_for_the_endpoints_unless_another_resource_is_named(
    settings: dict[str, str], resources: list[str], outgoing: OutgoingHttp, server: TokenServer
) -> None:
    provider = ClientCredentialsProvider(outgoing, Literals(), SystemClock())
    kind = HttpKind(outgoing, Literals())
    auth = ClientCredentialsAuth(token_url=server.url, client_id=CLIENT_ID, client_secret="literal:x", **settings)
    upstream = http_upstream(
        kind, "HTTPS://Up.example:443/mcp", endpoints=["HTTPS://Up.example:443/mcp", "https://up2.example/"]
    )

    await provider.headers(msgspec.structs.replace(upstream, auth=auth), ANONYMOUS, None)

    assert server.resources == resources
