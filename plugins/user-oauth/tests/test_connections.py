"""Connections by API and command, and who may see and end which."""

from __future__ import annotations

import json
from typing import Any

import pytest
from house import House, Provider

from toolway_testing.gateway import Answer


async def listed(house: House, who: str, query: str = "") -> list[tuple[str, str]]:
    answer = await house.gate.api("GET", f"/connections{query}", token=f"is-{who}" if who else None)
    assert answer.status == 200, answer.content
    return [(each["name"], each["principal"]) for each in answer.content["items"]]


async def ended(house: House, who: str, query: str = "", name: str = "tracker") -> Answer:
    return await house.gate.api("DELETE", f"/connections/{name}{query}", token=f"is-{who}" if who else None)


async def test_people_see_their_own_connections_and_administrators_all(house: House) -> None:
    await house.connect("alice")

    assert await listed(house, "alice") == [("tracker", "user:alice")]
    assert await listed(house, "bob") == []
    assert await listed(house, "bob", "?principal=user:alice") == []
    assert await listed(house, "") == [("tracker", "user:alice"), ("tracker", "user:lister")]
    assert await listed(house, "", "?principal=user:lister") == [("tracker", "user:lister")]


async def test_a_connection_is_shown_without_its_tokens(house: House) -> None:
    await house.connect("alice")

    answer = await house.gate.api("GET", "/connections", token="is-alice")

    (shown,) = answer.content["items"]
    assert set(shown) == {"name", "principal", "issuer", "scopes", "connected_at", "refreshed_at", "expires_at"}
    assert (shown["issuer"], "mcp:read" in shown["scopes"]) == (house.upstream.issuer, True)


async def test_pages_neither_repeat_nor_skip(house: House) -> None:
    for who in ("alice", "bob"):
        await house.connect(who)
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await house.gate.api("GET", f"/connections?limit=1&cursor={cursor}")).content
        seen += [each["principal"] for each in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = page["next_cursor"].replace("\n", "%0A")

    assert seen == ["user:alice", "user:bob", "user:lister"]


async def test_ending_a_connection_revokes_it_at_its_server_and_ends_its_use_at_once(
    house: House, provider: Provider
) -> None:
    await house.connect("alice")
    await house.whoami("alice")
    revoked = provider.requests("/token/revocation")

    answer = await ended(house, "alice")

    assert (answer.status, answer.content["revoked_at_issuer"]) == (200, True)
    assert provider.requests("/token/revocation") == revoked + 2
    assert (await house.whoami("alice")).content["error"]["data"]["code"] == "consent_needed"
    assert (await ended(house, "alice")).status == 404


async def test_the_trail_of_changes_says_who_connected_and_ended_what(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "toolway.audit"):
        await house.connect("alice")
        await ended(house, "", "?principal=user:alice")

    made, gone = [json.loads(each.message) for each in caplog.records if each.name == "toolway.audit"]
    about = "connections/tracker/user:alice"
    assert (made["actor"], made["action"], made["object"]) == ("user:alice", "connections.connect", about)
    assert (gone["actor"], gone["action"], gone["object"]) == ("admin", "connections.revoke", about)
    assert made["after"] == gone["before"] == {"issuer": house.upstream.issuer, "scopes": made["after"]["scopes"]}


async def test_a_server_that_is_away_keeps_nobody_from_ending_a_connection(house: House, provider: Provider) -> None:
    await house.connect("alice")
    provider.fail("/token/revocation", 503, 1)

    answer = await ended(house, "alice")

    assert (answer.status, answer.content["revoked_at_issuer"]) == (200, False)
    assert await listed(house, "alice") == []


async def test_connections_of_others_look_as_if_there_were_none(house: House) -> None:
    await house.connect("alice")

    theirs, absent = await ended(house, "bob", "?principal=user:alice"), await ended(house, "bob", "?principal=user:x")

    assert (theirs.status, absent.status) == (404, 404)
    assert theirs.content["detail"].replace("user:alice", "user:x") == absent.content["detail"]
    assert await listed(house, "alice") == [("tracker", "user:alice")]


async def test_administrators_end_connections_of_others(house: House) -> None:
    await house.connect("alice")

    answer = await ended(house, "", "?principal=user:alice")

    assert (answer.status, answer.content["principal"]) == (200, "user:alice")
    assert (await ended(house, "", "?principal=user:alice")).status == 404


async def test_a_limited_credential_does_not_reach_them(house: House) -> None:
    await house.connect("alice")

    assert await listed(house, "alice+narrow") == []
    assert (await ended(house, "alice+narrow")).status == 404
    begun = await house.gate.api("POST", "/connections", {"upstream": "tracker"}, token="is-alice+narrow")
    assert begun.status in (403, 404)


@pytest.mark.parametrize(("wanted", "status"), [("nothing", 404), ("", 404), ("x" * 49, 400), ("plain", 400)])
async def test_only_upstreams_that_want_accounts_can_be_connected(house: House, wanted: str, status: int) -> None:
    plain = {"name": "plain", "kind": "http", "endpoints": ["https://plain.example/mcp"], "enabled": False}
    assert (await house.gate.api("POST", "/upstreams", plain)).status == 201

    assert (await house.gate.api("POST", "/connections", {"upstream": wanted})).status == status


async def test_nobody_gets_a_link_without_a_credential(house: House) -> None:
    for method, path, body in (
        ("GET", "/connections", None),
        ("POST", "/connections", {"upstream": "tracker"}),
        ("DELETE", "/connections/tracker", None),
    ):
        assert (await house.gate.api(method, path, body, token="nonsense")).status == 401


async def test_connections_of_upstreams_that_are_gone_are_removed(house: House) -> None:
    await house.connect("alice")
    parts: Any = next(each for each in house.gate.gateway.services if each.name == "user-oauth")
    assert await parts.prune() == 0

    kernel: Any = house.gate.gateway.kernel
    kernel.catalog.configured = type(kernel.catalog.configured)()
    await kernel.catalog.reload()

    assert await parts.prune() == 2
    assert await listed(house, "") == []
