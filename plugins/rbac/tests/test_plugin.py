"""The plugin in a gateway: what it decides over HTTP, on both databases."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from toolway.errors import PluginError
from toolway_testing.gateway import VERSION, Answer, StartGateway
from toolway_testing.polling import eventually
from toolway_testing.trusting import People, bearer

Start = Callable[..., Awaitable[People]]


async def grant(here: People, name: str, subject: str, given: str, **more: Any) -> Answer:
    """A binding of the local administrator's."""
    kind = "permission" if ":" in given else "role"
    return await here.api("", "PUT", f"/bindings/{name}", {"name": name, "subject": subject, kind: given, **more})


def refusal(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.content["code"]


def seen(answer: Answer, name: str) -> tuple[int, str]:
    """What a client can tell from an answer, whatever the name it asked for and the id of the error."""
    content = json.dumps(answer.content, sort_keys=True).replace(name, "…")
    return answer.status, re.sub(r'"error_?[iI]d": "\w+"', "", content)


async def test_enabling_it_lets_everybody_with_a_credential_use_servers_as_before(people: Start) -> None:
    here = await people()

    assert len(await here.tools("fred")) == 3
    assert (await here.mcp("fred", "tools/call", {"name": "demo__now", "arguments": {}})).status == 200
    assert refusal(await here.api("fred", "GET", "/upstreams")) == (403, "forbidden")


async def test_without_a_baseline_nobody_gets_in_until_something_is_granted(
    people: Start, database: dict[str, str]
) -> None:
    here = await people((), **database)
    hidden = await here.mcp("fred", "tools/list", server="all")
    absent = await here.mcp("fred", "tools/list", server="none")

    await grant(here, "g", "user:fred", "caller")

    assert seen(hidden, "'all'") == seen(absent, "'none'")
    assert len(await here.tools("fred")) == 3


async def test_what_may_not_be_used_looks_like_what_does_not_exist(people: Start, database: dict[str, str]) -> None:
    here = await people(**database)
    await grant(here, "d", "user:fred", "tools:call:demo/now", effect="deny")

    hidden = await here.mcp("fred", "tools/call", {"name": "demo__now", "arguments": {}})
    absent = await here.mcp("fred", "tools/call", {"name": "demo__not", "arguments": {}})

    assert await here.tools("fred") == ["demo__add", "demo__echo"]
    assert seen(hidden, "demo__now") == seen(absent, "demo__not")
    assert (await here.mcp("max", "tools/call", {"name": "demo__now", "arguments": {}})).status == 200


async def test_prompts_and_resources_are_hidden_in_lists_reads_and_completions(people: Start) -> None:
    here = await people()
    for action in ("prompts:get", "resources:read"):
        await grant(here, action.replace(":", "-"), "user:fred", f"{action}:*", effect="deny")
    completion = {
        "ref": {"type": "ref/prompt", "name": "demo__greet"},
        "argument": {"name": "name", "value": ""},
    }
    refused: dict[str, dict[str, Any]] = {
        "prompts/get": {"name": "demo__greet", "arguments": {"name": "x"}},
        "resources/read": {"uri": "demo://about"},
        "completion/complete": completion,
    }

    for method, member in [("prompts/list", "prompts"), ("resources/list", "resources")]:
        assert (await here.mcp("fred", method)).content["result"][member] == []
    for method, params in refused.items():
        assert "error" in (await here.mcp("fred", method, params)).content, method
        assert "error" not in (await here.mcp("max", method, params)).content or method == "completion/complete"


async def test_a_binding_ends_at_its_time(people: Start) -> None:
    here = await people(())
    await grant(here, "g", "user:fred", "caller", expires_at=time.time() + 1.0)
    assert len(await here.tools("fred")) == 3

    await eventually(lambda: _sees_nothing(here))

    assert (await here.api("", "GET", "/bindings/g")).status == 200


async def _sees_nothing(people: People) -> bool:
    return not await people.tools("fred")


USELESS: list[tuple[dict[str, Any], str]] = [
    ({"subject": "user:nobody", "role": "caller"}, "users has no 'nobody'"),
    ({"subject": "team:none", "role": "caller"}, "teams has no 'none'"),
    ({"subject": "fred", "role": "caller"}, "must be user:<name>"),
    ({"subject": "user:fred", "role": "none"}, "there is no role 'none'"),
    ({"subject": "user:fred", "permission": "tools:call"}, "is no permission"),
    ({"subject": "user:fred", "permission": "tool:call:*"}, "did you mean tools:call"),
    ({"subject": "user:fred", "role": "caller", "permission": "tools:call:*"}, "give one of them"),
    ({"subject": "user:fred"}, "give one of them"),
    ({"subject": "user:fred", "role": "caller", "team_role": "owner"}, "goes with a subject team"),
    ({"subject": "user:fred", "role": "caller", "expires_at": 3600}, "is in the past"),
]


async def test_a_binding_that_would_not_work_is_refused_with_what_to_do(people: Start) -> None:
    here = await people()

    for body, sentence in USELESS:
        answer = await here.api("", "POST", "/bindings", {"name": "b", **body})

        assert refusal(answer) == (400, "invalid_input")
        assert sentence in str(answer.content)


async def test_builtin_roles_are_shown_and_stay_and_a_role_in_use_is_not_removed(
    people: Start, database: dict[str, str]
) -> None:
    here = await people(**database)
    await here.api("", "POST", "/roles", {"name": "biller", "permissions": ["tools:call:billing/*"]})
    await grant(here, "b", "team:ops", "biller", team_role="member")

    roles = {role["name"]: role for role in (await here.api("", "GET", "/roles")).content["items"]}

    assert roles["admin"]["meta"]["managed_by"] == "file"
    assert roles["biller"]["permissions"] == ["tools:call:billing/*"]
    assert refusal(await here.api("", "PUT", "/roles/admin", roles["admin"] | {"permissions": []})) == (409, "conflict")
    assert refusal(await here.api("", "DELETE", "/roles/admin")) == (409, "conflict")
    assert refusal(await here.api("", "DELETE", "/roles/biller")) == (409, "conflict")
    await here.api("", "DELETE", "/bindings/b")
    assert (await here.api("", "DELETE", "/roles/biller")).status == 204


async def test_nobody_gives_away_more_than_they_have(people: Start, database: dict[str, str]) -> None:
    here = await people(**database)
    await grant(here, "w", "user:fred", "bindings:*:*")
    await grant(here, "r", "user:fred", "roles:*:*")
    await grant(here, "d", "user:max", "prompts:get:*", effect="deny")
    await grant(here, "e", "user:vera", "upstreams:read:*", effect="deny")
    mine = {"name": "mine", "subject": "user:fred"}

    assert refusal(await here.api("fred", "POST", "/bindings", {**mine, "role": "admin"})) == (403, "forbidden")
    assert (await here.api("fred", "POST", "/bindings", {**mine, "permission": "upstreams:read:*"})).status == 403
    assert (await here.api("fred", "POST", "/roles", {"name": "root", "permissions": ["admin:*"]})).status == 403
    assert (await here.api("fred", "DELETE", "/bindings/e")).status == 403
    assert (await here.api("fred", "DELETE", "/bindings/d")).status == 204
    assert (
        await here.api("fred", "POST", "/bindings", {**mine, "subject": "user:max", "role": "caller"})
    ).status == 201


async def test_the_password_of_somebody_who_may_do_everything_is_for_administrators(people: Start) -> None:
    here = await people()
    await grant(here, "clerk", "user:fred", "users:*:*")
    await grant(here, "chief", "user:max", "admin")
    password = {"password": "correct horse battery"}

    assert (await here.api("fred", "PUT", "/users/vera/password", password)).status == 204
    assert refusal(await here.api("fred", "PUT", "/users/max/password", password)) == (403, "forbidden")
    assert (await here.api("", "PUT", "/users/max/password", password)).status == 204


async def test_the_owner_of_a_team_manages_its_bindings_and_no_others(people: Start) -> None:
    here = await people()
    await grant(here, "t", "*", "team-admin")
    await grant(here, "f", "user:fred", "viewer")
    binding = {"name": "b", "subject": "user:vera", "role": "caller"}

    assert (await here.api("olga", "POST", "/bindings", binding)).status == 201
    assert (await here.api("olga", "POST", "/bindings", {**binding, "name": "c", "role": "developer"})).status == 403
    assert (await here.api("olga", "POST", "/bindings", {**binding, "name": "c", "subject": "*"})).status == 403
    assert (await here.api("max", "POST", "/bindings", {**binding, "name": "c"})).status == 403
    shown = (await here.api("olga", "GET", "/bindings")).content["items"]
    assert [each["name"] for each in shown] == ["b"]
    hidden, absent = await here.api("olga", "GET", "/bindings/f"), await here.api("olga", "GET", "/bindings/g")
    assert hidden.status == 404
    assert seen(hidden, "'f'") == seen(absent, "'g'")
    assert (await here.api("olga", "DELETE", "/bindings/b")).status == 204


async def test_the_owner_of_a_team_neither_sees_nor_takes_what_others_gave_to_its_members(people: Start) -> None:
    here = await people()
    await grant(here, "t", "*", "team-admin")
    chief = {"name": "chief", "subject": "user:fred", "role": "admin"}
    await here.api("", "POST", "/bindings", chief)

    assert (await here.api("olga", "PUT", "/teams/ops/members/user:fred", {"role": "viewer"})).status == 204

    absent = seen(await here.api("olga", "GET", "/bindings/absent"), "'absent'")
    assert seen(await here.api("olga", "GET", "/bindings/chief"), "'chief'") == absent
    assert seen(await here.api("olga", "DELETE", "/bindings/chief"), "'chief'") == absent
    taken = {**chief, "role": "caller"}
    assert (await here.api("olga", "PUT", "/bindings/chief", taken)).status in (403, 404)
    assert (await here.api("olga", "GET", "/bindings")).content["items"] == []
    assert (await here.api("fred", "GET", "/users")).status == 200


async def test_misconfigured_it_says_what_can_be_chosen(people: Start) -> None:
    with pytest.raises(PluginError, match="baseline"):
        await people(("root",))


async def test_disabled_it_offers_nothing(gateway: StartGateway) -> None:
    gate = await gateway()

    assert (await gate.api("GET", "/roles")).status == 404


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_whoever_leaves_a_team_hears_nothing_more_of_what_is_its(people: Start, era: str) -> None:
    here = await people(())
    for name, subject, permission in (("in", "*", "servers:connect:*"), ("use", "team:ops", "tools:call:*")):
        await grant(here, name, subject, permission)
    plane = here.gate.gateway.plane
    headers = {"accept": "application/json, text/event-stream", **bearer("max")}
    if era == "legacy":
        said = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": said}
        async with here.gate.http.post(f"{here.gate.url}/mcp", json=message, headers=headers) as response:
            headers["mcp-session-id"] = response.headers["mcp-session-id"]
        stream = here.gate.http.get(f"{here.gate.url}/mcp", headers=headers)
    else:
        meta = {"io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {}}
        params = {"notifications": {"toolsListChanged": True}, "_meta": meta}
        message = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
        headers |= {"mcp-protocol-version": VERSION, "mcp-method": "subscriptions/listen"}
        stream = here.gate.http.post(f"{here.gate.url}/mcp", json=message, headers=headers)
    async with stream as response:
        await eventually(lambda: plane.hub.listeners)
        assert (await here.api("", "DELETE", "/teams/ops/members/user:max")).status == 204
        await response.content.read()

    if era == "legacy":
        async with here.gate.http.get(f"{here.gate.url}/mcp", headers=headers):
            await eventually(lambda: plane.streams.open)
            assert [listener.principal.teams for listener in plane.hub.listeners] == [()]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/upstreams/{}"),
        ("DELETE", "/upstreams/{}"),
        ("POST", "/upstreams/{}/refresh"),
        ("GET", "/servers/{}"),
        ("DELETE", "/servers/{}"),
        ("GET", "/servers/{}/collisions"),
        ("GET", "/items?server={}"),
        ("GET", "/items?upstream={}"),
    ],
)
async def test_what_is_of_another_team_looks_like_what_does_not_exist(people: Start, method: str, path: str) -> None:
    here = await people()
    await grant(here, "d", "user:fred", "developer")
    private = {"name": "secret", "owner": "team:ops", "visibility": "private"}
    assert (await here.api("", "POST", "/servers", private)).status == 201
    endpoint = {"kind": "http", "endpoints": ["http://127.0.0.1:1/mcp"]}
    assert (await here.api("", "POST", "/upstreams", private | endpoint)).status == 201

    for condition in ({}, {"if-match": '"1"'}, {"if-none-match": "*"}):
        answers = set()
        for name in ("secret", "absent"):
            url = f"{here.gate.url}/api/v1{path.format(name)}"
            answers.add(seen(await here.gate._send(method, url, bearer("fred") | condition, None), name))
        assert len(answers) == 1
