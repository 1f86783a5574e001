"""Keys from their making to their end, on a real database."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from key_node import MakeNode, Node
from sqlalchemy import text
from sqlmodel import select

from toolway.catalog.models import RevocationRow
from toolway.hookspecs.auth import AuthContext, Credentials, Resource
from toolway.plugin import Conflict, InvalidInput, NotFound, StoreUnavailable, Unauthenticated
from toolway_server_keys.key import Key
from toolway_server_keys.notation import base62, new_id, new_secret, written
from toolway_testing.clock import MovedClock

HOUR, DAY = 3600, 86400
BLNS = Path(__file__).resolve().parents[3] / "tests/data/blns/blns.json"


async def test_a_key_is_a_principal_of_its_own_limited_to_its_servers(node: Node) -> None:
    key, value = await node.make("billing", "support", description="report", items=["a/*"], networks=["192.0.2.0/24"])

    for as_header in (False, True):
        found = await node.ask(value, as_header=as_header)

        principal = found.principal
        assert (principal.id, principal.kind, principal.name) == (f"key:{key.id}", "service", "report")
        assert principal.limits is not None and principal.limits.servers == ("billing", "support")
        assert not principal.scopes and principal.limits.items == ("a/*",)
        assert [str(network) for network in found.networks] == ["192.0.2.0/24"]
        assert found.revoke_keys == (f"key:{key.id}", f"key:{key.id}:1")
        assert found.cache_until == node.clock.monotonic() + 60


async def test_a_key_is_unknown_but_on_its_servers(node: Node) -> None:
    _, value = await node.make("billing")

    assert await node.is_open(value, "billing")
    for server in ("support", "absent", None):
        with pytest.raises(Unauthenticated, match="not valid here"):
            await node.ask(value, server)


async def test_a_key_does_what_its_server_shows_and_administrates_nothing(node: Node) -> None:
    _, value = await node.make("billing")
    principal = (await node.ask(value)).principal

    def may(action: str, name: str, server: str) -> bool:
        return node.access.allowed(principal, action, Resource(name, server))

    assert may("servers:connect", "billing", "billing") and may("tools:call", "a/b", "billing")
    assert not may("tools:call", "a/b", "support") and not may("servers:connect", "support", "support")
    assert not any(
        may(action, "billing", "billing") for action in ("servers:write", "servers:read", "server-keys:read")
    )


@pytest.mark.parametrize("scheme", ["bearer", "x-api-key"])
async def test_other_credentials_are_left_to_others(node: Node, scheme: str) -> None:
    context = AuthContext("billing", "192.0.2.1", "/mcp")

    for credentials in (Credentials(scheme, "twa_abc"), Credentials("basic", written(new_id(), new_secret()))):
        assert await node.parts.authenticator.authenticate(credentials, context) is None


async def test_a_wrong_checksum_is_refused_without_asking_the_database(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, value = await node.make()
    monkeypatch.setattr(node.database, "read", _away)

    for wrong in (value[:-1] + "-", value[:-7] + "0000000", "twk_", f"{value}0", f"{value[:40]}é{value[41:]}"):
        context, credentials = AuthContext("billing", "192.0.2.1", "/mcp"), Credentials("bearer", wrong)
        with pytest.raises(Unauthenticated, match="not valid here"):
            await node.parts.authenticator.authenticate(credentials, context)
    with pytest.raises(StoreUnavailable):
        await node.ask(value)


async def test_no_naughty_string_is_a_key_nor_a_failure(node: Node) -> None:
    key, value = await node.make()
    texts = json.loads(BLNS.read_text(encoding="utf-8")) if BLNS.is_file() else ["' or 1=1 --", "\0", "é"]

    for one in filter(None, texts):
        for wrong in (f"twk_{one}", f"{value[:21]}{one}", f"twk_{one}{value[4:]}", value + one):
            credentials = Credentials("x-api-key", wrong.encode().decode("latin-1"))
            with pytest.raises(Unauthenticated, match="not valid here"):
                await node.parts.authenticator.authenticate(credentials, AuthContext("billing", "192.0.2.1", "/mcp"))
    assert await node.parts.store.find(key.id) == key


async def test_another_secret_of_a_known_id_and_an_unknown_id_are_refused_alike(node: Node) -> None:
    key, _ = await node.make()
    said = set()

    for wrong in (written(key.id, base62(1, 43)), written(new_id(), new_secret())):
        with pytest.raises(Unauthenticated) as refused:
            await node.ask(wrong)
        said.add(refused.value.message)

    assert len(said) == 1


async def test_the_secret_is_nowhere_in_the_database_nor_in_what_is_shown(node: Node) -> None:
    key, value = await node.make()
    key, second = await node.rotate(key)

    async with node.database.read() as tx:
        rows = (await tx.session.exec(text("select * from server_keys_key"))).all()  # type: ignore[call-overload]

    for secret in (value, second):
        assert secret[21:64] not in str(rows) + repr(key)
        assert secret[21:64] not in repr(await node.ask(secret))


async def test_a_key_ends_to_the_second(node: Node, clock: MovedClock) -> None:
    _, value = await node.make(ttl="1h")
    clock.time += HOUR - 1
    assert (await node.ask(value)).cache_until == clock.time + 1

    clock.time += 1

    assert not await node.is_open(value)


async def test_a_key_lives_for_ninety_days_unless_asked_otherwise(node: Node, clock: MovedClock) -> None:
    assert (await node.make())[0].expires_at == clock.time + 90 * DAY
    assert (await node.make(ttl="365d"))[0].expires_at == clock.time + 365 * DAY
    assert (await node.make(expires_at=clock.time + 60))[0].expires_at == clock.time + 60


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"ttl": "366d"}, r"ttl is longer than the maximum of 365d \(the setting max_ttl\); ask for less"),
        ({"ttl": "1h", "expires_at": "2030-01-01T00:00:00Z"}, "both given"),
        ({"expires_at": "1970-01-02T00:00:00Z"}, "over already"),
    ],
)
async def test_what_cannot_be_made_is_said(node: Node, asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        await node.make(**asked)


async def test_a_key_of_a_server_that_does_not_exist_is_not_made(node: Node) -> None:
    with pytest.raises(NotFound, match="servers has no 'absent'"):
        await node.make("billing", "absent")


async def test_both_secrets_work_until_the_grace_period_is_over(node: Node, clock: MovedClock) -> None:
    key, old = await node.make()
    key, new = await node.rotate(key, grace="24h")
    assert old != new and old[:20] == new[:20]

    clock.time += DAY - 1
    assert await node.is_open(old) and await node.is_open(new)
    assert (await node.ask(old)).cache_until == clock.time + 1

    clock.time += 1
    assert not await node.is_open(old)
    assert await node.is_open(new)


async def test_without_grace_the_old_secret_is_over_at_once(node: Node) -> None:
    key, old = await node.make()
    assert await node.is_open(old)

    key, new = await node.rotate(key, grace="0s")
    node.access.revoke(frozenset({key.revoke_key(1)}))

    assert not await node.is_open(old)
    assert await node.is_open(new)
    assert key.previous == bytes(32)


@pytest.mark.parametrize(("grace", "over"), [("24h", {0}), ("0s", {0, 1}), ("59s", {0, 1}), ("60s", {0})])
async def test_nodes_forget_only_the_secrets_that_a_rotation_ends(node: Node, grace: str, over: set[int]) -> None:
    key, _ = await node.make()

    await node.rotate(key, grace=grace)

    async with node.database.read() as tx:
        found = {row.key for row in await tx.session.exec(select(RevocationRow))}
    assert found == {key.revoke_key(generation) for generation in over}


async def test_of_many_rotations_only_the_two_newest_secrets_work(node: Node) -> None:
    key, first = await node.make()
    values = [first]
    for _ in range(3):
        key, value = await node.rotate(key)
        node.access.revoke(frozenset({key.revoke_key(key.generation - 2)}))
        values.append(value)

        assert [await node.is_open(each) for each in values] == [False] * (len(values) - 2) + [True, True]


async def test_a_rotation_touches_no_other_key(node: Node) -> None:
    key, _ = await node.make("billing")
    others = [await node.make("billing"), await node.make("support")]

    await node.rotate(key, grace="0s")

    for (other, value), server in zip(others, ("billing", "support"), strict=True):
        assert await node.is_open(value, server)
        assert await node.parts.store.find(other.id) == other


async def test_a_new_secret_lives_as_long_as_the_first_did(node: Node, clock: MovedClock) -> None:
    key, old = await node.make(ttl="10d")
    clock.time += 9 * DAY

    key, new = await node.rotate(key, grace="30d")

    assert key.expires_at == clock.time + 10 * DAY
    clock.time += DAY
    assert not await node.is_open(old)
    assert await node.is_open(new)
    key, _ = await node.rotate(key, ttl="20d")
    assert key.expires_at == clock.time + 20 * DAY


async def test_what_is_over_gets_no_new_secret(node: Node, clock: MovedClock) -> None:
    revoked, _ = await node.make()
    expired, _ = await node.make(ttl="1h")
    await node.revoke(revoked)
    clock.time += HOUR

    for key, state in ((revoked, "revoked"), (expired, "expired")):
        with pytest.raises(Conflict, match=f"is {state}; make a new one"):
            await node.rotate(key)


async def test_a_revoked_key_is_refused_on_every_node_with_all_its_secrets(node: Node, make_node: MakeNode) -> None:
    other = await make_node()
    key, old = await node.make()
    key, new = await node.rotate(key)
    assert await other.is_open(new)

    await node.revoke(key)
    other.access.revoke(frozenset({key.principal}))

    for value in (old, new):
        with pytest.raises(Unauthenticated, match="was revoked"):
            await other.ask(value)


async def test_known_keys_go_on_for_an_hour_without_the_database(
    node: Node, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, known = await node.make()
    _, unknown = await node.make()
    await node.ask(known)
    monkeypatch.setattr(node.database, "read", _away)

    clock.time += HOUR
    assert await node.is_open(known)
    assert not await node.is_open(written(key.id, new_secret()))
    with pytest.raises(StoreUnavailable):
        await node.ask(unknown)
    clock.time += 61
    with pytest.raises(StoreUnavailable):
        await node.ask(known)


async def test_a_key_that_another_node_revoked_is_not_known_when_the_database_goes_away(
    node: Node, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await make_node()
    key, value = await node.make()
    gone, pruned = await node.make()
    assert await other.is_open(value) and await other.is_open(pruned)

    await node.revoke(key)
    async with node.database.write() as tx:
        await tx.session.exec(text(f"delete from server_keys_key where id = '{gone.id}'"))  # type: ignore[call-overload]
    await other.reload()
    other.access.revoke(frozenset({key.principal, gone.principal}))
    monkeypatch.setattr(other.database, "read", _away)

    assert not await other.is_open(value)
    with pytest.raises(StoreUnavailable):
        await other.ask(pruned)


async def test_a_key_that_is_revoked_while_it_is_read_is_not_remembered(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, value = await node.make()
    find = node.parts.store.find

    async def find_slowly(key_id: str) -> Key | None:
        found = await find(key_id)
        await node.revoke(key)
        await node.reload()
        return found

    with monkeypatch.context() as slow:
        slow.setattr(node.parts.store, "find", find_slowly)
        await node.ask(value)
    monkeypatch.setattr(node.database, "read", _away)

    with pytest.raises(StoreUnavailable):
        await node.ask(value)


async def test_an_expired_key_stays_expired_without_the_database(
    node: Node, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, value = await node.make(ttl="10m")
    await node.ask(value)
    monkeypatch.setattr(node.database, "read", _away)

    clock.time += 600

    assert not await node.is_open(value)


def _away() -> Any:
    raise StoreUnavailable("the database does not answer")


async def test_every_change_is_told_to_the_trail_without_secrets(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "toolway.audit")
    key, first = await node.make(description="report")
    key, second = await node.rotate(key, grace="1h")
    await node.revoke(key)

    told = [json.loads(record.getMessage()) for record in caplog.records if record.name == "toolway.audit"]

    assert [each["action"].removeprefix("server-keys.") for each in told] == ["create", "rotate", "revoke"]
    assert {(each["actor"], each["object"]) for each in told} == {("admin", f"server-keys/{key.id}")}
    assert told[0]["before"] is None and told[0]["after"]["servers"] == ["billing"]
    assert [told[1][when]["generation"] for when in ("before", "after")] == [1, 2]
    assert told[2]["before"]["revoked_at"] is None and told[2]["after"]["revoked_at"] == node.clock.time
    assert first[21:64] not in caplog.text and second[21:64] not in caplog.text and "digest" not in caplog.text


async def test_the_last_use_is_one_write_whatever_the_number_of_requests(
    node: Node, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, value = await node.make()
    writes = counted(node, monkeypatch)
    for _ in range(100):
        clock.time += 1
        await node.ask(value)
    assert writes == []

    await node.parts.upkeep.record()
    await node.parts.upkeep.record()

    found = await node.parts.store.find(key.id)
    assert found is not None and clock.time - 60 <= (found.last_used_at or 0) <= clock.time
    assert (found.last_address, found.last_client) == ("192.0.2.1", "client/1")
    assert len(writes) == 1


async def test_of_two_nodes_the_later_use_counts(node: Node, make_node: MakeNode, clock: MovedClock) -> None:
    other = await make_node()
    key, value = await node.make()
    await node.ask(value)
    clock.time += 5
    await other.ask(value)

    await other.parts.upkeep.record()
    await node.parts.upkeep.record()

    found = await node.parts.store.find(key.id)
    assert found is not None and found.last_used_at == clock.time


async def test_what_ended_long_ago_is_removed_by_the_node_with_the_lease(node: Node, clock: MovedClock) -> None:
    old, _ = await node.make(ttl="1d")
    new, value = await node.make(ttl="60d")
    clock.time += 32 * DAY

    async with node.keyvalue.lock("server-keys.prune", 300):
        await node.parts.upkeep.prune()
    assert await node.parts.store.find(old.id) is not None
    await node.parts.upkeep.prune()

    assert await node.parts.store.find(old.id) is None
    assert await node.parts.store.find(new.id) == new and await node.is_open(value)


async def test_keys_are_listed_by_server(node: Node) -> None:
    one, _ = await node.make("billing")
    both, _ = await node.make("support", "billing")
    await node.make("support")

    listed = await node.parts.store.after("", "billing", 10)

    assert {key.id for key in listed} == {one.id, both.id}
    assert await node.parts.store.after("", "bill", 10) == []
    assert len(await node.parts.store.after("", "", 2)) == 2


def counted(node: Node, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    writes: list[int] = []
    write: Callable[[], Any] = node.database.write

    def counting() -> Any:
        writes.append(1)
        return write()

    monkeypatch.setattr(node.database, "write", counting)
    return writes
