"""Tokens of real accounts, through HTTP: whose they are, who sees them, and what ends them."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from toolway_testing.gateway import Answer, RunningGateway, StartGateway
from toolway_testing.polling import eventually
from toolway_tokens import upkeep

STRICT = {"name": "strict", "include": ["demo/*"], "access": "authenticated"}
BOUNDED = {"scopes": ["tools:call:demo/echo"], "servers": ["strict"]}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
def database(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The setting of the database."""
    if request.param == "sqlite":
        return {}
    return {"database": f"literal:{request.getfixturevalue('postgres_url')}"}


@pytest_asyncio.fixture
async def gate(database: dict[str, Any], gateway: StartGateway) -> RunningGateway:
    """A gateway with two users, two administrators, and the team of alice with its service account."""
    return await gate_with_accounts(database, gateway)


async def gate_with_accounts(database: dict[str, Any], gateway: StartGateway) -> RunningGateway:
    gate = await gateway(enable=["tokens"], servers=[STRICT], demo=True, **database)
    await eventually(lambda: gate.gateway.plane.view("strict").listed("tool"))
    for path, body in (
        ("users", {"name": "alice"}),
        ("users", {"name": "bob"}),
        ("users", {"name": "root", "admin": True}),
        ("users", {"name": "chief", "admin": True}),
        ("teams", {"name": "ops", "members": {"user:alice": "owner", "user:bob": "member"}}),
        ("service-accounts", {"name": "ci", "owner": "team:ops"}),
    ):
        answer = await gate.api("POST", f"/{path}", body)
        assert answer.status == 201, answer.content
    return gate


async def made(gate: RunningGateway, by: str | None = None, **asked: Any) -> dict[str, Any]:
    answer = await gate.api("POST", "/tokens", asked, token=by)
    assert answer.status == 201, answer.content
    found: dict[str, Any] = answer.content
    return found


async def token_of(gate: RunningGateway, subject: str, **asked: Any) -> str:
    return str((await made(gate, subject=subject, **asked))["token"])


async def call(gate: RunningGateway, token: str) -> Answer:
    headers = {"authorization": f"Bearer {token}"}
    return await gate.call("demo__echo", {"text": "hello"}, server="strict", headers=headers)


async def change(gate: RunningGateway, path: str, **changed: Any) -> None:
    body = {**(await gate.api("GET", path)).content, **changed}
    assert (await gate.api("PUT", path, body)).status == 200


async def test_a_user_makes_lists_and_revokes_their_own(gate: RunningGateway) -> None:
    alice, bob = await token_of(gate, "user:alice"), await token_of(gate, "user:bob")
    mine = await made(gate, alice, description="mine", ttl="1h")

    listed = (await gate.api("GET", "/tokens", token=alice)).content["items"]
    assert {token["subject"] for token in listed} == {"user:alice"} and len(listed) == 2
    assert (await gate.api("GET", f"/tokens/{mine['name']}", token=bob)).status == 404
    assert (await gate.api("DELETE", f"/tokens/{mine['name']}", token=bob)).status == 404
    assert (await call(gate, mine["token"])).status == 200
    assert (await gate.api("DELETE", f"/tokens/{mine['name']}", token=alice)).status == 204
    assert (await call(gate, mine["token"])).status == 401


async def test_what_one_may_not_see_looks_like_what_does_not_exist(gate: RunningGateway) -> None:
    alice, hidden = await token_of(gate, "user:alice"), await made(gate, subject="user:bob")

    for method in ("GET", "DELETE"):
        there = await gate.api(method, f"/tokens/{hidden['name']}", token=alice)
        absent = await gate.api(method, "/tokens/0123456789abcdef", token=alice)
        said = there.content["detail"].replace(hidden["name"], "0123456789abcdef")
        assert (there.status, said) == (absent.status, absent.content["detail"])


async def test_users_make_none_for_others_and_touch_neither_keys_nor_policies(gate: RunningGateway) -> None:
    alice = await token_of(gate, "user:alice")

    for subject in ("user:bob", "user:root", "user:nobody", "admin"):
        assert (await gate.api("POST", "/tokens", {"subject": subject}, token=alice)).status == 403
    assert (await gate.api("POST", "/token-keys/rotate", token=alice)).status == 403
    policy = {"name": "user:alice", "max_ttl": "3650d"}
    assert (await gate.api("PUT", "/token-policies/user:alice", policy, token=alice)).status in (403, 404)


async def test_an_owner_of_the_team_makes_bounded_tokens_for_its_service_account(gate: RunningGateway) -> None:
    alice, bob = await token_of(gate, "user:alice"), await token_of(gate, "user:bob")
    refused = await gate.api("POST", "/tokens", {"subject": "service:ci"}, token=alice)
    assert refused.status == 403 and "must name its scopes" in refused.content["detail"]
    assert (await gate.api("POST", "/tokens", {"subject": "service:ci", **BOUNDED}, token=bob)).status == 403

    bounded = await made(gate, alice, subject="service:ci", ttl="1h", **BOUNDED)

    assert (await call(gate, bounded["token"])).status == 200
    listed = (await gate.api("GET", "/tokens?subject=service:ci", token=alice)).content["items"]
    assert [token["name"] for token in listed] == [bounded["name"]]
    await change(gate, "/teams/ops", members={"user:alice": "member"})
    assert (await call(gate, bounded["token"])).status == 401


async def test_disabling_a_user_ends_all_their_tokens_at_once(gate: RunningGateway) -> None:
    tokens = [await token_of(gate, "user:alice") for _ in range(3)]
    assert [(await call(gate, token)).status for token in tokens] == [200] * 3

    await change(gate, "/users/alice", enabled=False)

    assert [(await call(gate, token)).status for token in tokens] == [401] * 3
    await eventually(lambda: _are_revoked(gate))
    await change(gate, "/users/alice", enabled=True)
    assert [(await call(gate, token)).status for token in tokens] == [401] * 3


async def _are_revoked(gate: RunningGateway) -> bool:
    listed = (await gate.api("GET", "/tokens?subject=user:alice")).content["items"]
    return all(token["state"] == "revoked" for token in listed)


@pytest.mark.parametrize("account", ["user:alice", "service:ci"])
async def test_tokens_end_also_when_their_account_is_enabled_again_at_once(
    database: dict[str, Any], gateway: StartGateway, monkeypatch: pytest.MonkeyPatch, account: str
) -> None:
    monkeypatch.setattr(upkeep, "RETRY_SECONDS", 3600.0)  # nobody looks for disabled accounts meanwhile
    gate = await gate_with_accounts(database, gateway)
    token = await token_of(gate, account)
    kind, _, name = account.partition(":")
    path = f"/{'users' if kind == 'user' else 'service-accounts'}/{name}"

    await change(gate, path, enabled=False)
    await change(gate, path, enabled=True)

    assert (await call(gate, token)).status == 401
    (listed,) = (await gate.api("GET", f"/tokens?subject={account}")).content["items"]
    assert listed["state"] == "revoked"


async def test_demoting_an_administrator_ends_the_tokens_they_made_for_others(gate: RunningGateway) -> None:
    root = await token_of(gate, "user:root")
    for_bob, for_root = await made(gate, root, subject="user:bob", ttl="1h"), await made(gate, root, ttl="1h")
    assert (await call(gate, for_bob["token"])).status == 200

    await change(gate, "/users/root", admin=False)

    assert (await call(gate, for_bob["token"])).status == 401
    assert (await call(gate, for_root["token"])).status == 200
    assert (await gate.api("GET", "/users", token=for_root["token"])).status == 403


async def test_a_policy_of_a_team_holds_for_its_members(gate: RunningGateway) -> None:
    assert (await gate.api("PUT", "/token-policies/team:ops", {"name": "team:ops", "max_ttl": "7d"})).status == 201

    answer = await gate.api("POST", "/tokens", {"subject": "user:bob", "ttl": "8d"})

    assert answer.status == 400 and "maximum of 7d (the token policy team:ops)" in answer.content["detail"]
