"""Keys of servers together with accounts and roles: a key never does more than its owner may at that moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from toolway_testing.gateway import StartGateway
from toolway_testing.polling import eventually
from toolway_testing.trusting import People, installed

Start = Callable[..., Awaitable[People]]
SERVERS = (
    {"name": "open", "include": ["demo/*"]},
    {"name": "diary", "include": ["demo/*"], "owner": "user:alice", "visibility": "private"},
    {"name": "runbook", "include": ["demo/*"], "owner": "team:ops", "visibility": "team"},
)
ALL_TOOLS = ["demo__add", "demo__echo", "demo__now"]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
def database(request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings of the gateway."""
    if request.param == "sqlite":
        return {}
    return {"database": f"literal:{request.getfixturevalue('postgres_url')}"}


@pytest.fixture
def people(gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: dict[str, str]) -> Start:
    """Awaited, it starts a gateway with alice, who owns the team ops and a server, and bob, a member; no baseline."""
    monkeypatch.syspath_prepend(str(installed(tmp_path / "installed")))

    async def start(*plugins: str) -> People:
        enable = ["trusting", "server-keys", *plugins]
        tables: dict[str, dict[str, Any]] = {"rbac": {"baseline": []}} if "rbac" in plugins else {}
        here = People(await gateway(enable=enable, plugins=tables, demo=True, **database))
        for name in ("alice", "bob"):
            await done(here, "POST", "/users", {"name": name})
        team = {"name": "ops", "members": {"user:alice": "owner", "user:bob": "member"}}
        await done(here, "POST", "/teams", team)
        for server in SERVERS:
            await done(here, "POST", "/servers", server)
        await eventually(lambda: here.gate.gateway.plane.view("open").listed("tool"))
        return here

    return start


async def done(here: People, method: str, path: str, body: Any = None, who: str = "") -> Any:
    answer = await here.api(who, method, path, body)
    assert answer.status < 300, answer.content
    return answer.content


async def key(here: People, server: str, who: str = "", **asked: Any) -> dict[str, Any]:
    made: dict[str, Any] = await done(here, "POST", "/server-keys", {"servers": [server], **asked}, who)
    return made


async def grant(here: People, name: str, subject: str, permission: str, **more: Any) -> None:
    await done(here, "POST", "/bindings", {"name": name, "subject": subject, "permission": permission, **more})


async def tools(here: People, made: dict[str, Any], server: str) -> list[str] | int:
    """The tools that a key sees, or the status of the refusal."""
    headers = {"authorization": f"Bearer {made['key']}"}
    answer = await here.gate.mcp("tools/list", server=server, headers=headers)
    return [tool["name"] for tool in answer.content["result"]["tools"]] if answer.status == 200 else answer.status


async def test_a_key_of_the_gateway_opens_its_server_with_and_without_roles(people: Start) -> None:
    here = await people("rbac")

    assert await tools(here, await key(here, "open"), "open") == ALL_TOOLS
    assert await tools(here, await key(here, "diary"), "diary") == ALL_TOOLS


async def test_a_key_never_does_more_than_its_owner(people: Start) -> None:
    here = await people("rbac")
    made = await key(here, "open", owner="user:alice")
    assert await tools(here, made, "open") == 404

    await grant(here, "connect", "user:alice", "servers:connect:open")
    await grant(here, "call", "user:alice", "tools:call:demo/*")
    assert await tools(here, made, "open") == ALL_TOOLS
    await grant(here, "never", "user:alice", "tools:call:demo/echo", effect="deny")
    assert await tools(here, made, "open") == ["demo__add", "demo__now"]
    await done(here, "DELETE", "/bindings/connect")
    assert await tools(here, made, "open") == 404


async def test_owners_make_keys_of_their_servers_and_gain_nothing(people: Start) -> None:
    here = await people("rbac")
    await grant(here, "connect", "user:alice", "servers:connect:diary")
    await grant(here, "add", "user:alice", "tools:call:demo/add")

    made = await key(here, "diary", "alice")

    assert made["owner"] == "user:alice"
    assert await tools(here, made, "diary") == ["demo__add"]
    for body, status in (
        ({"servers": ["open"]}, 404),
        ({"servers": ["diary"], "owner": ""}, 403),
        ({"servers": ["diary"], "owner": "user:bob"}, 404),
    ):
        refused = await here.api("alice", "POST", "/server-keys", body)
        assert refused.status in (403, status), (body, refused.content)
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/rotate")):
        hidden = await here.api("bob", method, f"/server-keys/{made['name']}{path}", {} if path else None)
        assert hidden.status == 404
    assert (await here.api("alice", "GET", "/server-keys")).content["items"][0]["name"] == made["name"]


async def test_a_key_of_a_team_is_a_matter_of_its_members(people: Start) -> None:
    here = await people("rbac")
    await grant(here, "connect", "team:ops", "servers:connect:runbook")
    await grant(here, "call", "team:ops", "tools:call:demo/now")
    await grant(here, "alone", "user:alice", "tools:call:demo/*")

    made = await key(here, "runbook", "alice", owner="team:ops")

    assert await tools(here, made, "runbook") == ["demo__now"]
    new = await done(here, "POST", f"/server-keys/{made['name']}/rotate", {"grace": "0s"}, "bob")
    assert await tools(here, made, "runbook") == 401 and await tools(here, new, "runbook") == ["demo__now"]


@pytest.mark.parametrize("plugins", [(), ("rbac",)])
async def test_a_key_ends_with_its_owner(people: Start, plugins: tuple[str, ...]) -> None:
    here = await people(*plugins)
    if plugins:
        await grant(here, "connect", "user:alice", "servers:connect:*")
    made = await key(here, "diary", owner="user:alice")
    assert isinstance(await tools(here, made, "diary"), list)

    of_team = await key(here, "runbook", owner="team:ops")
    assert await tools(here, of_team, "runbook") != 401

    await done(here, "PUT", "/users/alice", {"name": "alice", "enabled": False})
    await done(here, "DELETE", "/teams/ops")

    assert await tools(here, made, "diary") == 401
    assert await tools(here, of_team, "runbook") == 401


async def test_without_roles_a_key_sees_what_its_owner_sees(people: Start) -> None:
    here = await people()

    assert await tools(here, await key(here, "diary", owner="user:alice"), "diary") == ALL_TOOLS
    assert await tools(here, await key(here, "diary", owner="user:bob"), "diary") == 404
    assert await tools(here, await key(here, "runbook", owner="team:ops"), "runbook") == ALL_TOOLS
    assert await tools(here, await key(here, "open", owner="user:bob"), "open") == ALL_TOOLS
