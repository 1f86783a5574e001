"""The plugin in a whole gateway, through HTTP and a real MCP client."""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from openapi_spec_validator import OpenAPIV31SpecValidator

from toolway.plugin import ConfigError, StoreUnavailable
from toolway_testing.counted import counted
from toolway_testing.gateway import Answer, RunningGateway, StartGateway
from toolway_testing.polling import eventually
from toolway_tokens.keys import SigningKey, key_set
from toolway_tokens.signatures import signed, verified

STRICT = {"name": "strict", "include": ["demo/*"], "access": "authenticated"}
ECHO, TEXT = "demo__echo", {"text": "hello"}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
def database(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The setting of the database; it has to be there before the gateway, and to outlive it."""
    if request.param == "sqlite":
        return {}
    return {"database": f"literal:{request.getfixturevalue('postgres_url')}"}


@pytest_asyncio.fixture
async def gate(database: dict[str, Any], gateway: StartGateway) -> RunningGateway:
    """A gateway with the demo server, once with each database."""
    return await started(gateway, **database)


async def started(gateway: StartGateway, **settings: Any) -> RunningGateway:
    tokens = {"record_interval": 0.05}
    gate = await gateway(enable=["tokens"], plugins={"tokens": tokens}, servers=[STRICT], demo=True, **settings)
    await eventually(lambda: gate.gateway.plane.view("strict").listed("tool"))
    return gate


async def made(gate: RunningGateway, **asked: Any) -> dict[str, Any]:
    answer = await gate.api("POST", "/tokens", asked)
    assert answer.status == 201, answer.content
    found: dict[str, Any] = answer.content
    return found


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def call(gate: RunningGateway, token: str, server: str = "strict") -> Answer:
    return await gate.call(ECHO, TEXT, server=server, headers=bearer(token))


@asynccontextmanager
async def client(gate: RunningGateway, token: str) -> AsyncIterator[Client]:
    """The MCP client of the Python SDK with that token."""
    async with httpx2.AsyncClient(headers=bearer(token)) as http:
        transport = streamable_http_client(f"{gate.url}/servers/strict/mcp", http_client=http)
        async with Client(transport, mode="2026-07-28") as connected:
            yield connected


def is_challenged(answer: Answer) -> bool:
    return answer.status == 401 and answer.headers["www-authenticate"].startswith("Bearer ")


async def test_a_real_client_calls_a_tool_with_a_token(gate: RunningGateway) -> None:
    token = await made(gate, ttl="1h", scopes=["tools:call:demo/*"], servers=["strict"], description="report")

    async with client(gate, token["token"]) as connected:
        tools = {tool.name for tool in (await connected.list_tools()).tools}
        result = await connected.call_tool(ECHO, TEXT)

    assert ECHO in tools
    assert [getattr(block, "text", "") for block in result.content] == ["hello"]


async def test_a_revoked_token_is_refused_on_the_next_request(gate: RunningGateway) -> None:
    token = await made(gate)
    assert (await call(gate, token["token"])).status == 200

    assert (await gate.api("DELETE", f"/tokens/{token['name']}")).status == 204

    assert is_challenged(await call(gate, token["token"]))
    assert is_challenged(await gate.api("GET", "/tokens", token=token["token"]))
    shown = (await gate.api("GET", f"/tokens/{token['name']}")).content
    assert shown["state"] == "revoked" and "token" not in shown


async def test_a_revoked_token_is_not_accepted_again_while_the_database_is_away(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked, other = await made(gate), await made(gate)
    assert [(await call(gate, token["token"])).status for token in (revoked, other)] == [200, 200]

    await gate.api("DELETE", f"/tokens/{revoked['name']}")
    monkeypatch.setattr(gate.gateway.kernel.database, "read", _away)

    assert [(await call(gate, token["token"])).status for token in (revoked, other)] == [503, 200]


def _away() -> Any:
    raise StoreUnavailable("the database does not answer")


async def test_without_messages_a_revocation_counts_when_the_other_node_looks_which_is_once_a_second(
    database: dict[str, Any], gateway: StartGateway
) -> None:
    first, second = await started(gateway, **database), await started(gateway, **database)
    first.gateway.kernel.database.publish = None
    token = await made(first)
    assert (await call(second, token["token"])).status == 200

    await first.api("DELETE", f"/tokens/{token['name']}")
    before = monotonic()

    async def is_refused() -> bool:
        return is_challenged(await call(second, token["token"]))

    await eventually(is_refused)
    assert monotonic() - before < 1.5  # half a second for machines that are busy with other tests


async def test_the_catalog_tells_who_used_a_token_last(gate: RunningGateway) -> None:
    token = await made(gate)
    await call(gate, token["token"])

    async def used() -> Any:
        shown = (await gate.api("GET", f"/tokens/{token['name']}")).content
        return shown if shown["last_used_at"] else None

    shown = await eventually(used)
    assert shown["last_address"] == "127.0.0.1" and shown["last_client"].startswith("Python/")


async def test_tokens_are_listed_page_by_page_without_their_values(gate: RunningGateway) -> None:
    names = {(await made(gate))["name"] for _ in range(5)}

    seen, cursor = list[str](), ""
    while True:
        page = (await gate.api("GET", f"/tokens?limit=2&cursor={cursor}")).content
        seen += [token["name"] for token in page["items"]]
        assert all("token" not in token for token in page["items"])
        if not (cursor := page["next_cursor"]):
            break

    assert sorted(seen) == sorted(names)


async def test_limits_and_networks_hold(gate: RunningGateway) -> None:
    elsewhere = await made(gate, networks=["192.0.2.0/24"])
    other_server = await made(gate, servers=["other"])
    other_tool = await made(gate, items=["demo/add"], servers=["strict"])
    reader = await made(gate, scopes=["upstreams:read:*"])

    assert is_challenged(await call(gate, elsewhere["token"]))
    assert (await call(gate, other_server["token"])).status in (403, 404)
    assert (await call(gate, other_tool["token"])).content.get("error")
    assert (await gate.api("GET", "/upstreams", token=reader["token"])).status == 200
    assert (await gate.api("DELETE", "/upstreams/demo", token=reader["token"])).status == 403
    assert (await gate.api("POST", "/tokens", {}, token=reader["token"])).status == 403


async def test_a_one_time_token_is_for_one_call_and_looking_around_is_free(gate: RunningGateway) -> None:
    token = (await made(gate, single_use=True))["token"]

    async with client(gate, token) as connected:
        await connected.list_tools()
        await connected.list_tools()
        result = await connected.call_tool(ECHO, TEXT)

    assert not result.is_error
    assert is_challenged(await call(gate, token))
    assert is_challenged(await gate.mcp("tools/list", server="strict", headers=bearer(token)))


async def test_a_one_time_token_is_for_one_administrative_request(gate: RunningGateway) -> None:
    token = (await made(gate, single_use=True))["token"]

    answers = await asyncio.gather(*(gate.api("GET", "/upstreams", token=token) for _ in range(10)))

    assert sorted(answer.status for answer in answers) == [200] + [401] * 9
    assert is_challenged(await call(gate, token))


async def test_others_verify_tokens_with_the_public_keys_also_after_a_rotation(gate: RunningGateway) -> None:
    old = (await made(gate))["token"]
    assert (await gate.api("POST", "/token-keys/rotate")).status == 200
    new = (await made(gate))["token"]

    async with gate.http.get(f"{gate.url}/.well-known/jwks.json") as response:
        document = await response.json()
        assert response.headers["cache-control"] == "public, max-age=60"

    keys = key_set(document["keys"])
    for token in (old, new):
        assert json.loads(verified(token, keys).payload)["sub"] == "admin"
        assert (await call(gate, token)).status == 200
    assert len(keys) == 2 and all("d" not in key for key in document["keys"])


async def test_policies_are_a_collection_of_the_api(gate: RunningGateway) -> None:
    policy = {"name": "team:ops", "max_ttl": "7d"}

    assert (await gate.api("PUT", "/token-policies/team:ops", policy)).status == 201
    shown = (await gate.api("GET", "/token-policies/team:ops")).content
    assert (shown["max_ttl"], shown["default_ttl"]) == ("7d", None)
    refused = await gate.api("PUT", "/token-policies/team:ops", {**policy, "max_ttl": "soon"})
    assert refused.status == 400 and "write a number with d, h, m or s" in refused.content["detail"]
    assert (await gate.api("DELETE", "/token-policies/team:ops")).status == 204


async def test_a_lifetime_above_the_maximum_is_refused_with_the_maximum(gate: RunningGateway) -> None:
    answer = await gate.api("POST", "/tokens", {"ttl": "400d"})

    assert answer.status == 400
    assert answer.content["detail"] == ("ttl is longer than the maximum of 365d (the setting max_ttl); ask for less")


Forge = Callable[[dict[str, Any], dict[str, Any], SigningKey], str]


def segment(value: Any) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned(header: dict[str, Any], claims: dict[str, Any], key: SigningKey) -> str:
    return f"{segment({**header, 'alg': 'none'})}.{segment(claims)}."


def resigned(**changed: Any) -> Forge:
    def forge(header: dict[str, Any], claims: dict[str, Any], key: SigningKey) -> str:
        said = {name: value for name, value in {**claims, **changed}.items() if value is not None}
        return signed(key, {"typ": "at+jwt"}, json.dumps(said).encode())

    return forge


def headed(**changed: Any) -> Forge:
    return lambda header, claims, key: f"{segment({**header, **changed})}.{segment(claims)}.AAAA"


def over_long(header: dict[str, Any], claims: dict[str, Any], key: SigningKey) -> str:
    """As long as a header field takes it: what is longer does not even get here."""
    missing = 8100 - len(resigned(x="")(header, claims, key))
    return resigned(x="x" * (missing * 3 // 4))(header, claims, key)


FORGERIES: dict[str, Forge] = {
    "none": unsigned,
    "key confusion": headed(alg="HS256"),
    "unknown kid": headed(kid="unknown"),
    "absent kid": lambda header, claims, key: f"{segment({'alg': 'ES256'})}.{segment(claims)}.AAAA",
    "hostile kid": headed(kid="../../etc/passwd\0' or 1=1"),
    "jku": headed(jku="https://evil.example/jwks.json", kid="evil"),
    "unknown crit": lambda header, claims, key: signed(
        key, {"typ": "at+jwt", "crit": ["jku"], "jku": "https://evil.example/"}, json.dumps(claims).encode()
    ),
    "string exp": resigned(exp="9999999999"),
    "missing exp": resigned(exp=None),
    "missing sub": resigned(sub=None),
    "empty sub": resigned(sub=""),
    "wrong aud": resigned(aud="https://other.example"),
    "expired": resigned(exp=1),
    "over-long": over_long,
}


async def test_every_forgery_is_401_with_a_challenge_everywhere(gateway: StartGateway) -> None:
    gate = await started(gateway)
    value = (await made(gate))["token"]
    header, claims = (json.loads(urlsafe_b64decode(part + "==")) for part in value.split(".")[:2])
    plugin = next(each for each in gate.gateway.kernel.operations if each.path == "/api/v1/tokens")
    keys = plugin.handler.__self__._keys  # type: ignore[attr-defined]
    async with gate.gateway.kernel.database.write() as tx:
        key = await keys.signing(tx)
    assert (await call(gate, resigned()(header, claims, key))).status == 200

    for what, forge in FORGERIES.items():
        forged = forge(header, claims, key)
        assert is_challenged(await call(gate, forged)), what
        assert is_challenged(await gate.api("GET", "/upstreams", token=forged)), what


async def test_the_operations_are_described_with_their_permissions(gateway: StartGateway) -> None:
    gate = await started(gateway)

    document = (await gate.api("GET", "/openapi.json")).content

    OpenAPIV31SpecValidator(document).validate()
    paths = document["paths"]
    assert paths["/api/v1/token-keys/rotate"]["post"]["x-permission"] == "token-keys:write"
    assert paths["/.well-known/jwks.json"]["get"]["security"] == []
    assert {"/api/v1/tokens", "/api/v1/tokens/{name}", "/api/v1/token-policies/{name}"} <= paths.keys()


async def test_without_the_plugin_there_are_no_tokens(gateway: StartGateway) -> None:
    gate = await gateway()

    assert (await gate.api("GET", "/tokens")).status == 404


async def test_a_signing_key_that_cannot_be_used_is_told_at_the_start(gateway: StartGateway, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2")

    with pytest.raises(ConfigError, match=r"signing_key file:.* cannot be used: it is no private key") as failed:
        await gateway(enable=["tokens"], plugins={"tokens": {"signing_key": f"file:{tmp_path / 'key'}"}})

    assert "hunter2" not in str(failed.value)


async def test_tokens_that_are_looked_at_are_counted(gate: RunningGateway) -> None:
    token = (await made(gate, ttl="1h"))["token"]
    header, payload, signature = token.split(".")
    forged = f"{header}.{payload}.{signature[::-1]}"

    statuses = [
        (await gate.mcp("tools/list", server="strict", headers=bearer(each))).status for each in (token, forged)
    ]

    checks = [counted(gate, "toolway_token_checks_total", each) for each in ("accepted", "refused", "failed")]
    assert statuses == [200, 401]
    assert checks == [1, 1, 0]
