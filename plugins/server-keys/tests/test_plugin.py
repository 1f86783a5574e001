"""The plugin in a whole gateway, through HTTP and a real MCP client."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from toolway.plugin import ConfigError
from toolway_server_keys.notation import PATTERN, new_id, new_secret, written
from toolway_testing.clock import MovedClock
from toolway_testing.counted import counted
from toolway_testing.gateway import Answer, RunningGateway, StartGateway
from toolway_testing.polling import eventually

SERVERS = [{"name": name, "include": ["demo/*"], "access": "authenticated"} for name in ("billing", "support")]
ECHO, TEXT = "demo__echo", {"text": "hello"}
BLNS = Path(__file__).resolve().parents[3] / "tests/data/blns/blns.json"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
def database(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The setting of the database; it has to be there before the gateway, and to outlive it."""
    if request.param == "sqlite":
        return {}
    return {"database": f"literal:{request.getfixturevalue('postgres_url')}"}


@pytest_asyncio.fixture
async def gate(database: dict[str, Any], gateway: StartGateway) -> RunningGateway:
    """A gateway with two servers, once with each database."""
    return await started(gateway, **database)


async def started(gateway: StartGateway, **settings: Any) -> RunningGateway:
    keys = {"record_interval": 0.05}
    gate = await gateway(enable=["server-keys"], plugins={"server-keys": keys}, servers=SERVERS, demo=True, **settings)
    await eventually(lambda: gate.gateway.plane.view("billing").listed("tool"))
    return gate


async def made(gate: RunningGateway, *servers: str, **asked: Any) -> dict[str, Any]:
    answer = await gate.api("POST", "/server-keys", {"servers": list(servers or ("billing",)), **asked})
    assert answer.status == 201, answer.content
    found: dict[str, Any] = answer.content
    return found


async def rotated(gate: RunningGateway, key: dict[str, Any], **asked: Any) -> dict[str, Any]:
    answer = await gate.api("POST", f"/server-keys/{key['name']}/rotate", asked)
    assert answer.status == 200, answer.content
    found: dict[str, Any] = answer.content
    return found


def header(key: str, name: str = "authorization") -> dict[str, str]:
    return {name: f"Bearer {key}" if name == "authorization" else key}


async def call(gate: RunningGateway, key: str, server: str = "billing", name: str = "authorization") -> Answer:
    return await gate.call(ECHO, TEXT, server=server, headers=header(key, name))


async def is_open(gate: RunningGateway, key: str, server: str = "billing") -> bool:
    answer = await call(gate, key, server)
    assert answer.status == 200 or is_challenged(answer)
    return answer.status == 200


@asynccontextmanager
async def client(gate: RunningGateway, headers: dict[str, str], server: str) -> AsyncIterator[Client]:
    """The MCP client of the Python SDK with that key."""
    async with httpx2.AsyncClient(headers=headers) as http:
        transport = streamable_http_client(f"{gate.url}/servers/{server}/mcp", http_client=http)
        async with Client(transport, mode="2026-07-28") as connected:
            yield connected


def is_challenged(answer: Answer) -> bool:
    return answer.status == 401 and answer.headers["www-authenticate"].startswith("Bearer ")


@pytest.mark.parametrize("name", ["authorization", "x-api-key"])
async def test_a_real_client_uses_the_servers_of_its_key(gate: RunningGateway, name: str) -> None:
    key = await made(gate, "billing", "support", ttl="1h", description="report")
    assert re.fullmatch(PATTERN, key["key"])

    for server in ("billing", "support"):
        async with client(gate, header(key["key"], name), server) as connected:
            tools = {tool.name for tool in (await connected.list_tools()).tools}
            result = await connected.call_tool(ECHO, TEXT)
        assert ECHO in tools
        assert [getattr(block, "text", "") for block in result.content] == ["hello"]


async def test_a_key_opens_its_server_and_nothing_else(gate: RunningGateway) -> None:
    key = (await made(gate, "billing"))["key"]
    assert await is_open(gate, key)

    elsewhere = [await call(gate, key, server) for server in ("support", "all", "absent")]

    assert all(map(is_challenged, elsewhere))
    assert len({json.dumps(answer.content["error"]["code"]) for answer in elsewhere}) == 1
    for path in ("/servers", "/server-keys", "/upstreams", "/health"):
        assert (await gate.api("GET", path, token=key)).status == 401, path
    assert (await gate.api("POST", "/server-keys", {"servers": ["billing"]}, token=key)).status == 401


async def test_a_key_is_limited_to_items_scopes_and_networks(gate: RunningGateway) -> None:
    for limited in ({"items": ["demo/add"]}, {"scopes": ["tools:call:demo/add"]}):
        key = (await made(gate, **limited))["key"]
        listed = await gate.mcp("tools/list", server="billing", headers=header(key))
        assert [tool["name"] for tool in listed.content["result"]["tools"]] == ["demo__add"]
        assert (await call(gate, key)).content.get("error")
    elsewhere = await made(gate, networks=["192.0.2.0/24"])
    assert not await is_open(gate, elsewhere["key"])


async def test_a_rotation_has_a_grace_period_and_touches_no_other_server(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = moved(gate, monkeypatch)
    key, other = await made(gate, "billing"), await made(gate, "support")
    assert await is_open(gate, key["key"])

    new = await rotated(gate, key, grace="24h")

    assert new["name"] == key["name"] and new["key"] != key["key"] and new["grace_until"]
    assert await is_open(gate, key["key"]) and await is_open(gate, new["key"])
    clock.time += 86399
    assert await is_open(gate, key["key"])
    clock.time += 1
    assert not await is_open(gate, key["key"])
    assert await is_open(gate, new["key"]) and await is_open(gate, other["key"], "support")


async def test_only_the_two_newest_secrets_work(gate: RunningGateway) -> None:
    key = await made(gate)
    assert await is_open(gate, key["key"])
    second = await rotated(gate, key)
    assert await is_open(gate, second["key"])

    third = await rotated(gate, key)

    assert not await is_open(gate, key["key"])
    assert await is_open(gate, second["key"]) and await is_open(gate, third["key"])
    assert (await rotated(gate, key, grace="0s"))["grace_until"] is None
    assert not await is_open(gate, third["key"])


async def test_a_revoked_key_is_refused_on_the_next_request(gate: RunningGateway) -> None:
    key = await made(gate)
    new = await rotated(gate, key)
    assert await is_open(gate, key["key"]) and await is_open(gate, new["key"])

    assert (await gate.api("DELETE", f"/server-keys/{key['name']}")).status == 204

    assert not await is_open(gate, key["key"]) and not await is_open(gate, new["key"])
    shown = (await gate.api("GET", f"/server-keys/{key['name']}")).content
    assert shown["state"] == "revoked" and "key" not in shown
    refused = await gate.api("POST", f"/server-keys/{key['name']}/rotate", {})
    assert (refused.status, refused.content["code"]) == (409, "conflict")


async def test_a_key_ends_to_the_second(gate: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = moved(gate, monkeypatch)
    key = (await made(gate, ttl="1h"))["key"]

    clock.time += 3599
    assert await is_open(gate, key)
    clock.time += 1
    assert not await is_open(gate, key)


async def test_keys_are_listed_page_by_page_and_by_server_without_their_secrets(gate: RunningGateway) -> None:
    names = {(await made(gate, "billing"))["name"] for _ in range(5)}
    await made(gate, "support")

    seen, cursor = list[str](), ""
    while True:
        page = (await gate.api("GET", f"/server-keys?server=billing&limit=2&cursor={cursor}")).content
        seen += [key["name"] for key in page["items"]]
        assert all("key" not in key for key in page["items"])
        if not (cursor := page["next_cursor"]):
            break

    assert seen == sorted(names)
    assert len((await gate.api("GET", "/server-keys")).content["items"]) == 6
    assert (await gate.api("GET", "/server-keys?server=%25")).status == 400


async def test_the_last_use_is_shown(gate: RunningGateway) -> None:
    key = await made(gate)
    await is_open(gate, key["key"])

    async def used() -> Any:
        shown = (await gate.api("GET", f"/server-keys/{key['name']}")).content
        return shown if shown["last_used_at"] else None

    shown = await eventually(used)
    assert shown["last_address"] == "127.0.0.1" and shown["last_client"].startswith("Python/")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"servers": []}, "servers"),
        ({"servers": ["*"]}, "servers"),
        ({"servers": ["billing"], "ttl": "366d"}, "maximum of 365d"),
        ({"servers": ["billing"], "ttl": "soon"}, "write a number with d, h, m or s"),
        ({"servers": ["billing"], "networks": ["10.0.0.1/8"]}, "host bits"),
        ({"servers": ["billing"], "scopes": ["call"]}, "is no permission"),
        ({"servers": ["billing"], "secret": "x"}, "secret"),
        ({"servers": ["billing"], "owner": "alice"}, "owner"),
    ],
)
async def test_what_cannot_be_made_is_said(gateway: StartGateway, body: dict[str, Any], sentence: str) -> None:
    gate = await started(gateway)

    answer = await gate.api("POST", "/server-keys", body)

    assert answer.status == 400 and sentence in json.dumps(answer.content)


async def test_no_hostile_text_is_a_key_nor_an_error_of_the_gateway(gateway: StartGateway) -> None:
    gate = await started(gateway)
    key = (await made(gate))["key"]
    texts = (
        json.loads(BLNS.read_text(encoding="utf-8")) if BLNS.is_file() else ["' or 1=1 --", "%00", "../../etc/passwd"]
    )
    hostile = [key[:21] + "%" * 49, key[:4] + "_" * 66, key.upper(), key + key, written(new_id(), new_secret())]
    hostile += [f"twk_{text}" for text in texts if text.isprintable() and text.isascii()]

    for text in hostile:
        for name in ("authorization", "x-api-key"):
            answer = await call(gate, text, name=name)
            assert is_challenged(answer) or answer.status == 429, text
    for text in hostile[:20]:
        assert (await gate.api("GET", f"/server-keys/{text.encode().hex()}")).status == 404
    assert await is_open(gate, key)


async def test_without_the_plugin_there_are_no_keys(gateway: StartGateway) -> None:
    gate = await gateway()

    assert (await gate.api("GET", "/server-keys")).status == 404


async def test_settings_that_contradict_each_other_are_told_at_the_start(gateway: StartGateway) -> None:
    with pytest.raises(ConfigError, match="default_ttl is longer than max_ttl; make it shorter"):
        await gateway(enable=["server-keys"], plugins={"server-keys": {"default_ttl": "90d", "max_ttl": "30d"}})


def moved(gate: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    """The clock of the gateway, from now on the test's."""
    clock = MovedClock()
    monkeypatch.setattr(gate.gateway.kernel.clock, "now", clock.now)
    monkeypatch.setattr(gate.gateway.kernel.clock, "monotonic", clock.monotonic)
    return clock


async def test_keys_that_are_looked_at_are_counted(gate: RunningGateway) -> None:
    key = (await made(gate, "billing"))["key"]
    assert await is_open(gate, key)
    assert not await is_open(gate, f"{key[:-1]}{'a' if key[-1] != 'a' else 'b'}")

    checks = [counted(gate, "toolway_server_key_checks_total", each) for each in ("accepted", "refused", "failed")]
    assert checks == [1, 1, 0]
