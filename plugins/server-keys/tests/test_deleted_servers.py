"""A key opens the server that it was made for, and not the next one of that name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from key_node import LOCAL, SERVERS, MakeNode, Node
from sqlalchemy import text

from toolway.hookspecs.auth import Authenticated
from toolway.hookspecs.system import Transaction
from toolway.plugin import Conflict, NotFound, StoreUnavailable
from toolway_server_keys.key import Key
from toolway_testing.gateway import StartGateway
from toolway_testing.polling import eventually

WAITING = "select 1 from pg_locks join pg_database on oid = database where not granted and datname = current_database()"


async def test_a_deleted_server_loses_its_keys_for_good(node: Node, make_node: MakeNode) -> None:
    other = await make_node()
    key, value = await node.make("billing")
    both, of_both = await node.make("billing", "support")
    _, untouched = await node.make("support")
    assert await other.is_open(value) and await other.is_open(of_both)

    await node.change_server("billing", {"name": "billing"}, None)
    await node.change_server("billing", None, {"name": "billing"})
    for each in (node, other):
        await each.reload()
        assert not await each.is_open(value) and not await each.is_open(of_both)
        assert await each.is_open(of_both, "support") and await each.is_open(untouched, "support")

    left = await node.parts.store.find(both.id)
    assert left is not None and left.servers == ("support",)
    with pytest.raises(Conflict, match="is revoked; make a new one"):
        await node.rotate(key)


async def test_a_new_server_has_no_keys_of_one_that_went_otherwise(node: Node) -> None:
    _, value = await node.make("billing")

    await node.change_server("billing", None, {"name": "billing"})
    await node.reload()

    assert not await node.is_open(value)


async def test_a_server_that_only_changes_keeps_its_keys(node: Node) -> None:
    _, value = await node.make("billing")

    await node.change_server("billing", {"access": "public"}, {"access": "authenticated"})
    await node.reload()

    assert await node.is_open(value)


async def test_a_deletion_that_fails_takes_no_key(node: Node) -> None:
    key, value = await node.make("billing")

    with pytest.raises(Conflict, match="no"):
        await _deleted_in_vain(node)
    await node.reload()

    assert await node.is_open(value)
    assert await node.parts.store.find(key.id) == key


async def test_a_key_that_is_made_while_its_server_is_deleted_is_none(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    reload = node.reload

    async def gone() -> None:
        del node.catalog.snapshot.servers["billing"]
        await reload()

    monkeypatch.setattr(node.catalog, "reload", gone)
    with pytest.raises(NotFound, match="servers has no 'billing'"):
        await node.make("billing")
    node.catalog.snapshot.servers["billing"] = SERVERS["billing"]

    (key,) = await node.parts.store.after("", "billing", 10)
    assert key.revoked_at is not None


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.parametrize("by", ["its owner", "its credential"])
async def test_a_key_that_is_revoked_while_a_server_is_deleted_stays_revoked(
    node: Node, make_node: MakeNode, by: str
) -> None:
    other, who = await make_node(), Authenticated(LOCAL, ends_at=node.clock.time + 60)
    keys = [(await node.make("billing", "support", who=who))[0] for _ in range(2)]
    ending = Endings(other, keys, by)

    async with node.database.write() as tx:
        await node.parts.store.forsake(MeanwhileInRevoke(tx, ending.begin), "billing")
    await ending.done()

    found = [await node.parts.store.find(key.id) for key in keys]
    assert all(key is not None and key.revoked_at is not None for key in found)
    assert [key and key.servers for key in found] == [("support",)] * 2


async def test_a_key_has_lost_a_deleted_server_too_when_the_database_goes_away(
    node: Node, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await make_node()
    _, value = await node.make("billing", "support")
    assert await other.is_open(value)

    await node.change_server("billing", {}, None)
    await other.reload()
    monkeypatch.setattr(other.database, "read", _away)

    assert not await other.is_open(value)
    assert await other.is_open(value, "support")


async def test_in_a_gateway_the_next_server_of_that_name_is_not_open(gateway: StartGateway) -> None:
    gate = await gateway(enable=["server-keys"], demo=True)
    server = {"name": "billing", "include": ["demo/*"], "access": "authenticated"}
    assert (await gate.api("POST", "/servers", server)).status == 201
    key = (await gate.api("POST", "/server-keys", {"servers": ["billing"]})).content
    headers = {"authorization": f"Bearer {key['key']}"}
    assert (await gate.mcp("tools/list", server="billing", headers=headers)).status == 200

    assert (await gate.api("DELETE", "/servers/billing")).status == 204
    assert (await gate.api("POST", "/servers", server)).status == 201

    assert (await gate.mcp("tools/list", server="billing", headers=headers)).status == 401
    assert (await gate.api("GET", f"/server-keys/{key['name']}")).content["state"] == "revoked"


class MeanwhileInRevoke:
    """A transaction in which something else happens when it revokes for the first time."""

    def __init__(self, tx: Transaction, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self.session, self._tx, self._meanwhile = tx.session, tx, [meanwhile]

    async def revoke(self, *keys: str) -> None:
        while self._meanwhile:
            await self._meanwhile.pop()()
        await self._tx.revoke(*keys)


class Endings:
    """Keys that another node ends; `begin` returns when they have ended, or wait for somebody else's lock."""

    def __init__(self, node: Node, keys: Sequence[Key], by: str) -> None:
        self._node, self._keys, self._by = node, keys, by
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        self._task = asyncio.create_task(self._end_all())
        await eventually(self._is_held_up)

    async def done(self) -> None:
        assert self._task is not None
        await self._task

    async def _end_all(self) -> None:
        for key in self._keys:
            if self._by == "its owner":
                await self._node.revoke(key)
            else:
                await self._node.parts.store.end(key.id, frozenset({LOCAL.credential}))

    async def _is_held_up(self) -> bool:
        async with self._node.database.read() as tx:
            waiting = await tx.session.exec(text(WAITING))  # type: ignore[call-overload]
            return waiting.first() is not None or (self._task is not None and self._task.done())


async def _deleted_in_vain(node: Node) -> None:
    async with node.database.change("catalog", "admin", "servers.delete", "servers/billing") as tx:
        await node.parts.deleted.record(tx)
        raise Conflict("no")


def _away() -> Any:
    raise StoreUnavailable("the database does not answer")
