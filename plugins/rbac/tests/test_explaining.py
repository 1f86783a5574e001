"""Why somebody may do something, or may not; and who is told what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from toolway_testing.gateway import Answer
from toolway_testing.trusting import People

Start = Callable[..., Awaitable[People]]
DENIAL = {"name": "d", "subject": "team:ops", "permission": "tools:call:demo/now", "effect": "deny"}
HIDDEN = {"name": "hidden", "owner": "user:max", "visibility": "private"}


async def ask(here: People, who: str, action: str, resource: str, **more: str) -> Answer:
    """The question of somebody."""
    return await here.api(who, "GET", f"/rbac/explain?{urlencode({'action': action, 'resource': resource, **more})}")


async def test_an_administrator_is_told_everything(people: Start, database: dict[str, str]) -> None:
    here = await people(**database)
    await here.api("", "POST", "/bindings", DENIAL)
    await here.api("", "POST", "/servers", HIDDEN)

    denied = (await ask(here, "", "tools:call", "demo/now", user="user:vera")).content
    hidden = (await ask(here, "", "servers:read", "hidden", user="user:fred")).content

    assert (denied["allowed"], denied["reason"]) == (False, "the binding 'd' denies it")
    assert denied["denied_by"][0] == {
        "binding": "d",
        "subject": "team:ops",
        "role": "",
        "permission": "tools:call:demo/now",
        "expires_at": None,
    }
    assert denied["allowed_by"][0]["binding"] == "baseline"
    assert hidden["reason"] == "the object is private and belongs to user:max"
    assert (await ask(here, "", "tools:call", "demo/now", user="user:nobody")).status == 404


async def test_everybody_may_ask_about_themselves_and_no_others(people: Start) -> None:
    here = await people()

    own = await ask(here, "fred", "tools:call", "demo/now")
    other = await ask(here, "fred", "tools:call", "demo/now", user="user:max")
    nobody = await ask(here, "fred", "tools:call", "demo/now", user="user:nobody")

    assert (own.status, own.content["allowed"], own.content["user"]) == (200, True, "user:fred")
    assert other.status == nobody.status == 403
    assert other.content == nobody.content


async def test_the_owner_of_a_team_may_ask_about_its_members(people: Start) -> None:
    here = await people()
    await here.api("", "POST", "/bindings", {"name": "t", "subject": "*", "role": "team-admin"})

    assert (await ask(here, "olga", "tools:call", "demo/now", user="user:vera")).content["allowed"]
    assert (await ask(here, "olga", "tools:call", "demo/now", user="user:fred")).status == 403
    assert (await ask(here, "max", "tools:call", "demo/now", user="user:vera")).status == 403


async def test_the_owner_of_a_team_is_told_of_bindings_of_its_members_only_that_there_are_some(people: Start) -> None:
    here = await people(())
    for name, subject, given in (
        ("t", "*", {"role": "team-admin"}),
        ("c", "*", {"role": "caller"}),
        ("own", "team:ops", {"permission": "tools:call:demo/add"}),
        ("chief", "user:vera", {"role": "admin"}),
    ):
        assert (await here.api("", "POST", "/bindings", {"name": name, "subject": subject, **given})).status == 201

    about_vera = (await ask(here, "olga", "tools:call", "demo/add", user="user:vera")).content
    about_max = (await ask(here, "olga", "tools:call", "demo/add", user="user:max")).content
    herself = (await ask(here, "vera", "tools:call", "demo/add")).content

    assert about_vera["reason"] == "user:vera is an administrator: a binding that is not for whoever asks makes it one"
    assert [one["binding"] for one in about_vera["allowed_by"]] == ["c", "own"]
    assert about_max["reason"] == "the binding 'c' allows it"
    assert herself["reason"] == "user:vera is an administrator: the binding 'chief' makes it one"


async def test_about_what_somebody_does_not_see_they_are_told_what_is_told_of_nothing(people: Start) -> None:
    here = await people()
    await here.api("", "POST", "/servers", HIDDEN)
    await here.api("", "POST", "/bindings", {"name": "v", "subject": "user:fred", "role": "developer"})
    await here.api("", "POST", "/bindings", {**DENIAL, "subject": "user:fred"})
    absent = {"servers:connect": "none", "servers:read": "none", "tools:call": "demo/none", "upstreams:write": "none"}

    for action, resource in [("servers:connect", "hidden"), ("servers:read", "hidden")]:
        assert await _same(here, action, resource, absent[action])
    through = [(await ask(here, "fred", "tools:call", "demo/add", server=name)).content for name in ("hidden", "none")]
    assert [each["allowed"] for each in through] == [False, False]
    assert (await ask(here, "fred", "upstreams:write", "demo")).content["allowed"]
    assert not (await ask(here, "fred", "upstreams:write", "none")).content["allowed"]


async def _same(here: People, action: str, hidden: str, absent: str) -> bool:
    answers: list[dict[str, Any]] = [(await ask(here, "fred", action, name)).content for name in (hidden, absent)]
    return answers[0] | {"resource": ""} == answers[1] | {"resource": ""}


async def test_who_is_disabled_may_do_nothing(people: Start) -> None:
    here = await people()
    await here.api("", "PUT", "/users/fred", {"name": "fred", "enabled": False})

    found = (await ask(here, "", "tools:call", "demo/now", user="user:fred")).content

    assert (found["allowed"], "disabled" in found["reason"]) == (False, True)


async def test_a_public_server_lets_nobody_in_particular_in(people: Start) -> None:
    here = await people()
    await here.api("", "POST", "/servers", {"name": "open", "access": "public"})

    found = (await ask(here, "", "servers:connect", "open", user="anonymous")).content
    through = (await ask(here, "", "tools:call", "demo/now", user="anonymous", server="open")).content

    assert (found["allowed"], found["reason"]) == (True, "the server is public")
    assert through["allowed"]


async def test_a_question_that_cannot_be_answered_is_refused(people: Start) -> None:
    here = await people()

    assert (await ask(here, "fred", "tools", "demo/now")).status == 400
    assert (await ask(here, "fred", "tools:call", "")).status == 400
    assert (await ask(here, "", "tools:call", "x", user="nobody:x")).status == 404
