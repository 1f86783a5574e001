"""Whose keys there are: nobody gains anything by making, rotating or having one."""

from __future__ import annotations

from typing import Any

import pytest
from key_node import LOCAL, MakeNode, Node, account

from toolway.hookspecs.accounts import Accounts
from toolway.hookspecs.auth import Principal, Resource
from toolway.hookspecs.permissions import Limits
from toolway.plugin import Forbidden, NotFound, Unauthenticated

ALICE, BOB, ROOT = account("user:alice"), account("user:bob"), account("user:root")
KEYS = ("server-keys:write", "servers:write", "servers:read")


def grant(node: Node, who: str, *actions: str) -> None:
    node.rights.granted |= {f"{who} {action}" for action in actions}


async def may(node: Node, value: str, action: str = "tools:call", **more: Any) -> bool:
    principal = (await node.ask(value, more.get("server", "billing"))).principal
    return node.access.allowed(principal, action, Resource(**{"name": "a/b", "server": "billing", **more}))


async def test_a_key_may_do_what_its_owner_may_and_no_more(node: Node) -> None:
    grant(node, "user:alice", *KEYS)
    key, value = await node.make("billing", who=ALICE)
    assert key.owner == key.maker == "user:alice"
    assert not await may(node, value)

    grant(node, "user:alice", "tools:call")

    assert await may(node, value)
    assert await may(node, value, owner="user:alice", visibility="private")
    assert not await may(node, value, owner="user:bob", visibility="private")


async def test_a_private_server_can_be_opened_by_a_key_of_its_owner(node: Node) -> None:
    _, value = await node.make("diary", who=ALICE)
    principal = (await node.ask(value, "diary")).principal

    assert node.access.allowed(principal, "servers:connect", node.catalog.snapshot.servers["diary"])


async def test_a_key_of_a_team_may_do_what_the_team_may(node: Node) -> None:
    key, value = await node.make("runbook", who=ALICE, owner="team:ops")
    principal = (await node.ask(value, "runbook")).principal

    assert node.access.allowed(principal, "servers:connect", node.catalog.snapshot.servers["runbook"])
    assert not await may(node, value, owner="user:alice", visibility="private", server="runbook")
    assert key.resource == Resource(key.id, owner="team:ops", visibility="team")


async def test_a_key_of_the_gateway_may_do_everything_on_its_servers(node: Node) -> None:
    key, value = await node.make("billing", who=ROOT, owner="")

    assert await may(node, value, owner="user:bob", visibility="private")
    assert not await may(node, value, "upstreams:write")
    assert (key.owner, key.maker) == ("", "user:root")
    assert (await node.make(who=ROOT))[0].owner == "user:root"
    assert (await node.make(who=LOCAL))[0].owner == ""


@pytest.mark.parametrize("owner", ["", "user:bob", "user:root", "service:ci", "team:other"])
async def test_nobody_makes_keys_that_act_for_somebody_else(node: Node, owner: str) -> None:
    grant(node, "user:alice", *KEYS)

    with pytest.raises((Forbidden, NotFound)):
        await node.make(who=ALICE, owner=owner)


async def test_who_only_looks_on_in_a_team_makes_no_keys_for_it(node: Node) -> None:
    grant(node, "user:bob", *KEYS)

    with pytest.raises(Forbidden, match="would act for team:ops"):
        await node.make(who=BOB, owner="team:ops")


async def test_an_owner_that_does_not_exist_is_told_to_administrators(node: Node) -> None:
    with pytest.raises(Forbidden, match="there is no user:nobody; make it first"):
        await node.make(owner="user:nobody")


async def test_whoever_is_no_account_makes_no_keys(node: Node) -> None:
    grant(node, "peer:x", *KEYS)

    with pytest.raises(Forbidden):
        await node.make(who=Principal("peer:x", "service"))


async def test_a_key_needs_the_right_to_change_each_of_its_servers(node: Node) -> None:
    with pytest.raises(NotFound, match="servers has no 'support'"):
        await node.make("diary", "support", who=ALICE)
    with pytest.raises(NotFound, match="servers has no 'absent'"):
        await node.make("diary", "absent", who=ALICE)
    grant(node, "user:alice", "servers:read")
    with pytest.raises(Forbidden, match="servers:write"):
        await node.make("diary", "support", who=ALICE)
    with pytest.raises(NotFound, match="servers has no 'diary'"):
        await node.make("diary", who=BOB)


async def test_who_gets_a_new_secret_must_be_allowed_to_have_the_first_one(node: Node) -> None:
    grant(node, "user:bob", *KEYS)
    key, _ = await node.make("billing", owner="user:alice")

    with pytest.raises(Forbidden, match="would act for user:alice"):
        await node.rotate(key, who=BOB)


async def test_a_key_of_an_account_that_is_disabled_or_gone_opens_nothing(node: Node) -> None:
    _, value = await node.make(owner="user:alice")
    _, of_team = await node.make(owner="team:ops")
    assert "user:alice" in (await node.ask(value)).revoke_keys
    assert "team:ops" in (await node.ask(of_team)).revoke_keys

    node.accounts = Accounts()
    node.access.revoke(frozenset({"user:alice", "team:ops"}))

    for each in (value, of_team):
        with pytest.raises(Unauthenticated, match="gone"):
            await node.ask(each)


async def test_a_limited_credential_makes_no_key_beyond_its_limits(node: Node) -> None:
    writing = ("server-keys:write:*", "servers:write:*")
    only_writing = account("user:root", limits=Limits(scopes=writing))
    caller = account("user:root", limits=Limits(scopes=(*writing, "tools:call:a/*")))
    at_a_server = account("user:root", limits=Limits(servers=("billing",)))

    with pytest.raises(Forbidden, match="does not cover the use of server billing"):
        await node.make(who=only_writing)
    with pytest.raises(Forbidden, match="does not cover the scope tools:call:b/x"):
        await node.make(who=caller, scopes=["tools:call:b/x"])
    with pytest.raises((Forbidden, NotFound)):
        await node.make(who=at_a_server)
    with pytest.raises(Forbidden, match="one-time token"):
        await node.make(who=account("user:root", single_use=True))
    narrow, _ = await node.make(who=caller, scopes=["tools:call:a/x"])
    inherited, value = await node.make(who=caller)

    assert narrow.scopes == ("tools:call:a/x",) and inherited.scopes == caller.limits.scopes  # type: ignore[union-attr]
    assert await may(node, value) and not await may(node, value, name="b/x")


async def test_a_full_key_gets_no_new_secret_with_a_limited_credential(node: Node) -> None:
    key, _ = await node.make(owner="user:root")
    scopes = ("server-keys:write:*", "servers:write:*", "tools:call:a/*")

    with pytest.raises(Forbidden, match=r"does not cover the scope admin:\*"):
        await node.rotate(key, who=account("user:root", limits=Limits(scopes=scopes)))


async def test_who_may_change_all_servers_of_a_key_sees_and_ends_it(make_node: MakeNode) -> None:
    node = await make_node()
    operations = node.parts.operations
    one, _ = await node.make("billing", owner="user:alice")
    both, _ = await node.make("billing", "diary", owner="user:alice")
    grant(node, "user:bob", "servers:write")

    shown = await operations.get(node.incoming(BOB, one.id))
    await operations.revoke(node.incoming(BOB, one.id))

    assert shown.name == one.id
    for key in (both.id, "0" * 16, "'; drop table server_keys_key --"):
        with pytest.raises(NotFound, match="server-keys has no"):
            await operations.get(node.incoming(BOB, key))
    assert (await operations.get(node.incoming(ALICE, one.id))).state == "revoked"
