"""Tokens from their making to their end, on a real database."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from token_node import MakeNode, Node

from toolway.catalog.store import REVOCATIONS
from toolway.hookspecs.auth import Principal
from toolway.plugin import Forbidden, InvalidInput, StoreUnavailable, Unauthenticated
from toolway_testing.clock import MovedClock
from toolway_tokens.schemas import NewToken
from toolway_tokens.token import Token

HOUR, DAY = 3600, 86400


async def test_a_token_is_who_it_was_made_for(node: Node) -> None:
    token, value = await node.make(subject="user:alice", ttl="1h", scopes=["tools:call:a/*"], networks=["10.0.0.0/8"])

    found = await node.ask(value)

    assert found is not None and found.principal.id == "user:alice"
    assert found.principal.credential == f"token:{token.jti}"
    assert found.principal.limits is not None and found.principal.limits.scopes == ("tools:call:a/*",)
    assert [str(network) for network in found.networks] == ["10.0.0.0/8"]
    assert found.revoke_keys == (f"token:{token.jti}", "user:alice", "admin")
    assert found.cache_until == node.clock.monotonic() + 60
    assert found.ends_at == token.expires_at == node.clock.time + HOUR


async def test_the_value_is_nowhere_in_the_database(node: Node) -> None:
    _, value = await node.make(subject="user:alice")

    async with node.database.read() as tx:
        for table in ("tokens_token", "tokens_key"):
            rows = (await tx.session.exec(text(f"select * from {table}"))).all()  # type: ignore[call-overload]
            assert value.split(".")[2] not in str(rows)
            assert '"d"' not in str(rows)


async def test_a_revoked_token_is_refused_on_every_node_with_what_was_made_with_it(
    node: Node, make_node: MakeNode
) -> None:
    other = await make_node()
    token, value = await node.make(subject="user:alice")
    _, made_with_it = await node.make(await node.maker_with(value), ttl="1h")
    assert await other.ask(made_with_it) is not None

    await node.parts.catalog.revoke(token.jti, "admin")

    for one in (value, made_with_it):
        with pytest.raises(Unauthenticated, match="revoked"):
            await other.ask(one)


async def test_a_token_ends(node: Node, clock: MovedClock) -> None:
    _, value = await node.make(subject="user:alice", ttl="1h")
    clock.time += HOUR + 59
    assert await node.ask(value) is not None

    clock.time += 1

    with pytest.raises(Unauthenticated):
        await node.ask(value)


async def test_a_disabled_account_has_no_tokens(node: Node) -> None:
    _, value = await node.make(subject="user:alice")

    node.accounts = type(node.accounts)({})

    with pytest.raises(Unauthenticated):
        await node.ask(value)


async def test_known_tokens_go_on_for_an_hour_without_the_database(
    node: Node, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, known = await node.make(subject="user:alice")
    _, unknown = await node.make(subject="user:alice")
    await node.ask(known)
    monkeypatch.setattr(node.database, "read", _away)

    clock.time += HOUR
    assert await node.ask(known) is not None
    with pytest.raises(StoreUnavailable):
        await node.ask(unknown)
    clock.time += 1
    with pytest.raises(StoreUnavailable):
        await node.ask(known)


async def test_a_revoked_token_stays_revoked_when_the_database_goes_away(
    node: Node, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await make_node()
    await other.reload()
    token, value = await node.make(subject="user:alice")
    _, untouched = await node.make(subject="user:alice")
    assert await other.ask(value) is not None and await other.ask(untouched) is not None

    await node.parts.catalog.revoke(token.jti, "admin")
    await other.reload()
    monkeypatch.setattr(other.database, "read", _away)

    with pytest.raises(StoreUnavailable):
        await other.ask(value)
    assert await other.ask(untouched) is not None


async def test_a_token_that_is_revoked_while_it_is_read_is_not_remembered(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.reload()
    _, value = await node.make(subject="user:alice")
    find = node.parts.catalog.find

    async def find_slowly(jti: str) -> Token | None:
        found = await find(jti)
        await node.parts.catalog.revoke(jti, "admin")
        await node.reload()
        return found

    with monkeypatch.context() as slow:
        slow.setattr(node.parts.catalog, "find", find_slowly)
        await node.ask(value)
    monkeypatch.setattr(node.database, "read", _away)

    with pytest.raises(StoreUnavailable):
        await node.ask(value)


def _away() -> Any:
    raise StoreUnavailable("the database does not answer")


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"ttl": "366d"}, r"ttl is longer than the maximum of 365d \(the setting max_ttl\); ask for less"),
        ({"ttl": "1h", "expires_at": "2030-01-01T00:00:00Z"}, "both given"),
        ({"expires_at": "1970-01-02T00:00:00Z"}, "over already"),
        ({"subject": "user:nobody"}, "there is no account 'user:nobody'; make it first"),
        ({"scopes": [f"tools:call:{'x' * 300}{number}" for number in range(60)]}, "too long"),
    ],
)
async def test_what_cannot_be_made_is_said(node: Node, asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        await node.make(**{"subject": "user:alice", **asked})


async def test_whoever_is_no_account_has_no_tokens(node: Node) -> None:
    with pytest.raises(Forbidden, match="keys:x is no account"):
        await node.make(Principal("keys:x", "service"))


async def test_what_ended_long_ago_is_removed_with_its_keys(node: Node, clock: MovedClock) -> None:
    old, _ = await node.make(subject="user:alice", ttl="1d")
    await node.parts.keys.rotate("admin")
    new, value = await node.make(subject="user:alice", ttl="60d")
    clock.time += 32 * DAY

    await node.parts.upkeep.prune()

    assert await node.parts.catalog.find(old.jti) is None
    assert await node.parts.catalog.find(new.jti) is not None
    assert [key["kid"] for key in await node.parts.keys.jwks()] == [new.kid]
    assert await node.ask(value) is not None


async def test_only_the_node_with_the_lease_removes(node: Node, clock: MovedClock) -> None:
    old, _ = await node.make(subject="user:alice", ttl="1d")
    clock.time += 32 * DAY

    async with node.keyvalue.lock("tokens.prune", 300):
        await node.parts.upkeep.prune()

    assert await node.parts.catalog.find(old.jti) is not None


async def test_the_last_use_is_one_write_whatever_the_number_of_requests(
    node: Node, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, value = await node.make(subject="user:alice")
    writes = counted(node, monkeypatch)
    for _ in range(10):
        clock.time += 1
        await node.ask(value)
    assert writes == []

    await node.parts.upkeep.record()
    await node.parts.upkeep.record()

    found = await node.parts.catalog.find(token.jti)
    assert found is not None
    assert (found.last_used_at, found.last_address, found.last_client) == (clock.time, "192.0.2.1", "client/1")
    assert len(writes) == 1


async def test_of_two_nodes_the_later_use_counts(node: Node, make_node: MakeNode, clock: MovedClock) -> None:
    other = await make_node()
    token, value = await node.make(subject="user:alice")
    await node.ask(value)
    clock.time += 5
    await other.ask(value)

    await other.parts.upkeep.record()
    await node.parts.upkeep.record()

    found = await node.parts.catalog.find(token.jti)
    assert found is not None and found.last_used_at == clock.time


def counted(node: Node, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    writes: list[int] = []
    write: Callable[[], Any] = node.database.write

    def counting() -> Any:
        writes.append(1)
        return write()

    monkeypatch.setattr(node.database, "write", counting)
    return writes


async def test_the_trail_of_changes_says_who_made_and_revoked_what(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "toolway.audit"):
        token, value = await node.make(subject="user:alice", scopes=["tools:call:a/*"])
        await node.parts.catalog.revoke(token.jti, "admin")

    made, revoked = [json.loads(each.message) for each in caplog.records if each.name == "toolway.audit"]
    assert (made["actor"], made["action"], made["object"]) == ("admin", "tokens.create", f"tokens/{token.jti}")
    assert (made["after"]["subject"], made["after"]["scopes"]) == ("user:alice", ["tools:call:a/*"])
    assert (revoked["action"], revoked["after"]) == ("tokens.revoke", {"revoked": True, "with": []})
    assert value.split(".")[2] not in caplog.text


async def test_a_token_that_was_revoked_meanwhile_makes_no_more(node: Node) -> None:
    parent, value = await node.make(subject="user:alice")
    maker = await node.parts.issuer.maker(await node.maker_with(value))
    await node.parts.catalog.revoke(parent.jti, "admin")

    with pytest.raises(Forbidden, match="the token in use is over"):
        await node.parts.issuer.make(maker, NewToken(ttl="1h"))


async def test_tokens_of_a_disabled_account_do_not_come_back_nor_what_was_made_with_them(node: Node) -> None:
    token, value = await node.make(subject="user:alice")
    _, other = await node.make(subject="user:bob")

    async with node.database.write() as tx:
        assert await node.parts.catalog.end_subjects(tx, {"user:alice"}) == 1

    with pytest.raises(Unauthenticated):
        await node.ask(value)
    assert await node.ask(other) is not None
    await node.reload()
    assert node.loaded.values[REVOCATIONS].keys == {token.credential}
