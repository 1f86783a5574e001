"""A key is bounded by the credential that makes it: where it is used from, what it may do, when it ends."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given, strategies as st
from key_node import LOCAL, MakeNode, Node, account
from sqlmodel import select

from toolway.catalog.models import RevocationRow
from toolway.hookspecs.auth import Authenticated, Principal
from toolway.hookspecs.permissions import Limits, is_within, networks
from toolway.plugin import Forbidden, InvalidInput, StoreUnavailable, Unauthenticated
from toolway_server_keys.key import Key
from toolway_server_keys.narrowing import excess
from toolway_testing.clock import MovedClock

MINUTE, DAY = 60, 86400
ROOT = account("user:root")


def token(node: Node, jti: str = "a", ttl: float = DAY, **more: Any) -> Authenticated:
    """A credential of an administrator that ends."""
    principal = Principal("user:root", scopes=ROOT.scopes, credential=f"token:{jti}", limits=more.pop("limits", None))
    return Authenticated(principal, ends_at=node.clock.time + ttl, **more)


async def found(node: Node, key: Key) -> Key:
    stored = await node.parts.store.find(key.id)
    assert stored is not None
    return stored


async def test_a_key_has_the_networks_of_what_makes_it_or_some_within(node: Node) -> None:
    who = token(node, networks=networks(["192.0.2.0/24", "2001:db8::/32"]))

    inherited, _ = await node.make(who=who)
    narrower, value = await node.make(who=who, networks=["192.0.2.1/32"])

    assert inherited.networks == ("192.0.2.0/24", "2001:db8::/32")
    assert narrower.networks == ("192.0.2.1/32",)
    assert (await node.ask(value)).networks == networks(["192.0.2.1/32"])
    for wider in ("192.0.0.0/16", "0.0.0.0/0", "::/0", "198.51.100.7/32"):
        with pytest.raises(Forbidden, match=f"does not cover the network {wider}; use another one, or ask for less"):
            await node.make(who=who, networks=["192.0.2.1/32", wider])


async def test_a_key_of_all_networks_gets_no_new_secret_from_a_credential_of_one(node: Node) -> None:
    key, _ = await node.make()

    with pytest.raises(Forbidden, match="does not cover all networks"):
        await node.rotate(key, who=token(node, networks=networks(["192.0.2.0/24"])))


@given(
    own=st.lists(st.ip_addresses(v=4).map(lambda ip: ip_network((int(ip), 8), strict=False)), min_size=1, max_size=3),
    wanted=st.lists(st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), max_size=3),
)
def test_whatever_networks_are_let_through_are_within(own: list[Any], wanted: list[Any]) -> None:
    asked = [ip_network((int(ip), prefix), strict=False) for ip, prefix in wanted]
    key = Key("a", "", "b", ("billing",), b"", 0.0, 0, 0.0, networks=tuple(map(str, asked)))

    if not excess(Authenticated(LOCAL, networks=tuple(own)), key):
        assert asked
        assert all(is_within(str(end), own) for each in asked for end in (each[0], each[-1]))


@pytest.mark.parametrize(
    ("items", "beyond"),
    [(("a/*",), ""), (("a/x", "a/y*"), ""), ((), r"the items *"), (("a/x", "*/x"), "the items */x")],
)
def test_a_credential_for_some_items_covers_only_these(items: tuple[str, ...], beyond: str) -> None:
    who = Authenticated(account("user:root", limits=Limits(items=("a/*",))))

    assert excess(who, Key("a", "", "b", ("billing",), b"", 0.0, 0, 0.0, items=items)) == beyond


def test_a_credential_for_some_servers_covers_only_these() -> None:
    who = Authenticated(account("user:root", limits=Limits(servers=("bill*",))))

    assert excess(who, Key("a", "", "b", ("billing",), b"", 0.0, 0, 0.0)) == ""
    assert excess(who, Key("a", "", "b", ("billing", "support"), b"", 0.0, 0, 0.0)) == "the use of server support"


async def test_a_key_ends_with_what_makes_it(node: Node, clock: MovedClock) -> None:
    who = token(node, ttl=MINUTE)

    key, value = await node.make(who=who)

    assert key.expires_at == key.ends_at == who.ends_at
    assert (await node.make(who=who, ttl="59s"))[0].expires_at == clock.time + 59
    for asked in ({"ttl": "365d"}, {"expires_at": clock.time + 61}):
        with pytest.raises(InvalidInput, match="a key ends with the credential that it is made with, at "):
            await node.make(who=who, **asked)
    clock.time += MINUTE
    assert not await node.is_open(value)
    with pytest.raises(InvalidInput, match="ends with the credential"):
        await node.make(who=who)


async def test_no_later_secret_outlives_what_made_the_key_nor_what_replaced_it(node: Node, clock: MovedClock) -> None:
    key, _ = await node.make(who=token(node, ttl=2 * DAY))
    free, _ = await node.make()

    assert (await node.rotate(key))[0].expires_at == clock.time + 2 * DAY
    assert (await node.rotate(key, who=token(node, "b")))[0].expires_at == clock.time + DAY
    assert (await node.rotate(free, who=token(node, "b")))[0].expires_at == clock.time + DAY
    assert (await node.rotate(free))[0].expires_at == clock.time + 90 * DAY
    with pytest.raises(InvalidInput, match="ask for less, or use another one"):
        await node.rotate(key, ttl="3d")


async def test_what_a_credential_without_end_makes_is_bounded_by_none(node: Node) -> None:
    key, value = await node.make(who=ROOT)

    await node.revoke_credential(ROOT.credential)
    await node.reload()
    await node.parts.upkeep.end()

    assert (key.made_with, key.ends_at) == ("", 0.0)
    assert await node.is_open(value)


async def test_a_key_ends_with_the_revocation_of_what_made_it_on_every_node(node: Node, make_node: MakeNode) -> None:
    other = await make_node()
    key, old = await node.make(who=token(node))
    key, new = await node.rotate(key)
    free, free_value = await node.make(who=token(node, "b"))
    assert await other.is_open(old) and await other.is_open(new)

    await node.revoke_credential("token:a")
    for each in (node, other):
        await each.reload()
        assert not await each.is_open(old) and not await each.is_open(new)
    for each in (node, other, node):
        await each.parts.upkeep.end()

    assert (await found(node, key)).revoked_at == node.clock.time
    assert await found(node, free) == free and await other.is_open(free_value)
    third = await make_node()
    assert not await third.is_open(new)
    async with node.database.read() as tx:
        told = [row.key for row in await tx.session.exec(select(RevocationRow))]
    assert told.count(key.principal) == 1


async def test_a_key_ends_with_what_made_it_also_when_the_node_dies_right_after_the_revocation(
    node: Node, make_node: MakeNode
) -> None:
    key, value = await node.make(who=token(node))
    await node.revoke_credential("token:a")

    restarted = await make_node()

    assert not await restarted.is_open(value)
    await restarted.parts.upkeep.end()
    assert (await found(restarted, key)).revoked_at == node.clock.time


async def test_a_secret_ends_with_the_revocation_of_what_replaced_it(node: Node) -> None:
    key, first = await node.make()
    key, second = await node.rotate(key, who=token(node, "b"))
    key, third = await node.rotate(key)
    assert await node.is_open(second) and await node.is_open(third)

    await node.revoke_credential("token:b")
    await node.reload()
    assert not await node.is_open(second)
    await node.parts.upkeep.end()

    assert [await node.is_open(value) for value in (first, second, third)] == [False, False, True]
    assert (await found(node, key)).previous == bytes(32)


async def test_what_could_not_be_written_down_is_tried_again(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    key, value = await node.make(who=token(node))
    await node.revoke_credential("token:a")
    await node.reload()

    with monkeypatch.context() as patch:
        patch.setattr(node.database, "read", _away)
        with pytest.raises(StoreUnavailable):
            await node.parts.upkeep.end()
    assert not await node.is_open(value)
    await node.parts.upkeep.end()

    assert (await found(node, key)).revoked_at is not None
    assert not node.parts.ended.waiting


async def test_a_key_that_is_made_while_its_credential_is_revoked_ends_too(node: Node) -> None:
    await node.revoke_credential("token:a")

    with pytest.raises(Unauthenticated, match="was revoked"):
        await node.make(who=token(node))

    (key,) = await node.parts.store.after("", "", 10)
    assert key.revoked_at is not None


def _away() -> Any:
    raise StoreUnavailable("the database does not answer")
