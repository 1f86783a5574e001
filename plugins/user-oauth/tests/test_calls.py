"""Whose token a call carries, and how a client is asked for one: with real clients of both eras."""

from __future__ import annotations

import asyncio
from typing import Any

import mcp_types as types
import pytest
from house import House, OpenHouse
from mcp import MCPError
from person import Person

from toolway_testing.polling import eventually

both_eras = pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])


def said(result: types.CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return content.text


def text(answer: Any) -> str:
    return str(answer.content["result"]["content"][0]["text"])


@both_eras
async def test_a_client_is_asked_to_open_a_link_and_its_call_goes_on(house: House, mode: str) -> None:
    asked: list[types.ElicitRequestURLParams] = []

    async def elicit(context: Any, params: types.ElicitRequestURLParams) -> types.ElicitResult:
        asked.append(params)
        async with Person("alice", "is-alice", house.url) as person:
            await person.connect(params.url)
        return types.ElicitResult(action="accept")

    async with house.client("alice", mode, elicit) as client:
        first = await client.call_tool("whoami", {})
        second = await client.call_tool("whoami", {})

    assert [said(first), said(second)] == ["alice may mcp:read"] * 2
    assert [each.mode for each in asked] == ["url"]
    assert "'tracker'" in asked[0].message


@both_eras
async def test_the_call_waits_while_the_person_is_at_the_authorization_server(house: House, mode: str) -> None:
    going: list[asyncio.Task[None]] = []

    async def visit(url: str) -> None:
        async with Person("bob", "is-bob", house.url) as person:
            await person.connect(url)

    async def elicit(context: Any, params: types.ElicitRequestURLParams) -> types.ElicitResult:
        going.append(asyncio.create_task(visit(params.url)))
        return types.ElicitResult(action="accept")

    async with house.client("bob", mode, elicit) as client:
        answer = await client.call_tool("whoami", {})

    await going[0]
    assert said(answer) == "bob may mcp:read"


async def test_a_legacy_client_hears_that_its_person_is_done(house: House) -> None:
    heard: list[Any] = []
    asked: list[str | None] = []

    async def elicit(context: Any, params: types.ElicitRequestURLParams) -> types.ElicitResult:
        asked.append(params.elicitation_id)
        async with Person("alice", "is-alice", house.url) as person:
            await person.connect(params.url)
        return types.ElicitResult(action="accept")

    async def hear(message: Any) -> None:
        heard.append(message)

    async with house.client("alice", "legacy", elicit, hear) as client:
        await client.call_tool("whoami", {})
        await eventually(lambda: [each for each in heard if isinstance(each, types.ElicitCompleteNotification)])

    (done,) = [each for each in heard if isinstance(each, types.ElicitCompleteNotification)]
    assert [done.params.elicitation_id] == asked


@both_eras
async def test_a_client_that_cannot_be_asked_gets_a_sentence_with_the_link(house: House, mode: str) -> None:
    async with house.client("alice", mode) as client:
        with pytest.raises(MCPError, match=r"open http://127.0.0.1:\d+/user-oauth/connect/[\w-]+ within ten minutes"):
            await client.call_tool("whoami", {})


@both_eras
async def test_a_person_who_declines_is_not_asked_again_by_this_call(house: House, mode: str) -> None:
    async def elicit(context: Any, params: types.ElicitRequestURLParams) -> types.ElicitResult:
        return types.ElicitResult(action="decline")

    async with house.client("alice", mode, elicit) as client:
        with pytest.raises(MCPError, match="did not agree"):
            await client.call_tool("whoami", {})
    assert house.upstream.refused == set()


async def test_a_legacy_client_whose_person_is_late_gets_the_error_of_its_protocol(open_house: OpenHouse) -> None:
    house = await open_house(patience=0.2)

    async def elicit(context: Any, params: types.ElicitRequestURLParams) -> types.ElicitResult:
        return types.ElicitResult(action="accept")

    async with house.client("alice", "legacy", elicit) as client:
        with pytest.raises(MCPError) as refused:
            await client.call_tool("whoami", {})

    (elicitation,) = refused.value.error.data["elicitations"]
    assert (refused.value.error.code, elicitation["mode"]) == (-32042, "url")
    assert "/user-oauth/connect/" in elicitation["url"]


async def test_everybody_acts_with_an_account_of_their_own(house: House) -> None:
    await house.connect("alice", "alice")
    await house.connect("bob", "bob")

    answers = await asyncio.gather(*(house.whoami(who) for who in ("alice", "bob") * 5))

    assert [text(each).split()[0] for each in answers] == ["alice", "bob"] * 5


async def test_nobody_gets_the_account_of_somebody_else_nor_that_of_discovery(house: House) -> None:
    await house.connect("alice", "alice")
    before = len(house.upstream.seen)

    answer = await house.whoami("carol")

    assert answer.content["error"]["data"]["code"] == "consent_needed"
    assert len(house.upstream.seen) == before, "nothing was sent"


async def test_tokens_of_clients_never_go_to_the_upstream(house: House) -> None:
    await house.connect("alice", "alice")
    await house.whoami("alice")

    assert not [token for token in house.upstream.seen if token.startswith("is-")]


async def test_tokens_that_the_upstream_refuses_are_refreshed(house: House) -> None:
    await house.connect("alice", "alice")
    await house.whoami("alice")
    house.upstream.refused.add(old := house.upstream.seen[-1])

    answer = await house.whoami("alice")

    assert text(answer).startswith("alice may")
    assert house.upstream.seen[-1] != old


async def test_an_upstream_that_wants_more_scopes_has_them_consented_to(house: House) -> None:
    await house.connect("alice", "alice")
    asked: list[str] = []

    async def elicit(context: Any, params: types.ElicitRequestURLParams) -> types.ElicitResult:
        async with Person("alice", "is-alice", house.url) as person:
            asked.append((await person.get(params.url)).text)
            await person.connect(params.url)
        return types.ElicitResult(action="accept")

    wants = 'Bearer error="insufficient_scope", scope="mcp:read mcp:tools"'
    async with house.client("alice", "2026-07-28", elicit) as client:
        await client.call_tool("whoami", {})
        house.upstream.orders = [(403, wants)] * 3
        answer = await client.call_tool("whoami", {})

    assert said(answer) == "alice may mcp:read mcp:tools"
    assert "<dd>mcp:tools</dd>" in asked[0]


async def test_an_upstream_that_forbids_something_is_no_reason_to_consent_anew(house: House) -> None:
    await house.connect("alice", "alice")
    house.upstream.orders = [(403, "")] * 3

    answer = await house.whoami("alice")

    assert answer.content["error"]["data"]["code"] == "upstream_forbids"


async def test_anonymous_clients_are_told_to_say_who_they_are(house: House) -> None:
    servers = {"name": "open", "access": "public", "naming": "plain", "include": ["tracker/*"]}
    assert (await house.gate.api("POST", "/servers", servers)).status == 201

    answer = await house.gate.call("whoami", server="open")

    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")
