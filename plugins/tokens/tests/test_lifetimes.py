"""How long tokens live, and who says so."""

from typing import Any

import pytest
from hypothesis import given, strategies as st
from jsonschema_rs import Draft202012Validator
from pydantic import TypeAdapter, ValidationError
from token_node import Node

from toolway.hookspecs.accounts import Account
from toolway.plugin import InvalidInput, NotFound
from toolway_tokens.durations import DAY, LONGEST, Duration, duration, seconds
from toolway_tokens.lifetimes import Lifetimes, Policy, lifetimes
from toolway_tokens.plugin import TokensSettings

SETTINGS = Lifetimes(30 * DAY, 365 * DAY)
ALICE = Account("user", "alice", teams={"ops": "member", "dev": "owner"})


def policies(**rows: dict[str, str]) -> dict[str, Policy]:
    found = [Policy.model_validate({"name": name.replace("_", ":"), **row}) for name, row in rows.items()]
    return {policy.name: policy for policy in found}


@pytest.mark.parametrize(
    ("rows", "default", "maximum", "rule"),
    [
        ({}, 30, 365, "the setting max_ttl"),
        ({"team_ops": {"max_ttl": "7d"}}, 7, 7, "the token policy team:ops"),
        ({"team_ops": {"max_ttl": "7d"}, "team_dev": {"max_ttl": "3d"}}, 3, 3, "the token policy team:dev"),
        ({"team_ops": {"max_ttl": "7d"}, "user_alice": {"max_ttl": "90d"}}, 30, 90, "the token policy user:alice"),
        ({"team_ops": {"default_ttl": "2d", "max_ttl": "7d"}, "user_alice": {"max_ttl": "1d"}}, 1, 1, "user:alice"),
        ({"user_alice": {"default_ttl": "400d"}}, 365, 365, "the setting max_ttl"),
        ({"user_bob": {"max_ttl": "1d"}, "team_other": {"max_ttl": "1d"}}, 30, 365, "the setting max_ttl"),
    ],
)
def test_ones_own_policy_counts_else_the_strictest_of_the_teams(
    rows: dict[str, Any], default: int, maximum: int, rule: str
) -> None:
    found = lifetimes(ALICE, policies(**rows), SETTINGS)

    assert (found.default, found.maximum) == (default * DAY, maximum * DAY)
    assert rule in found.rule


async def test_a_policy_of_a_team_holds_for_its_members(node: Node) -> None:
    entity = node.parts.policies
    async with node.database.change("token-policies", "admin", "token-policies.create", "team:ops") as tx:
        await entity.put(tx, Policy(name="team:ops", max_ttl=7 * DAY))

    token, _ = await node.make(subject="user:bob")
    assert token.expires_at == token.created_at + 7 * DAY
    with pytest.raises(InvalidInput, match=r"ttl is longer than the maximum of 7d \(the token policy team:ops\)"):
        await node.make(subject="user:bob", ttl="8d")
    await node.make(subject="service:ci", ttl="8d")


async def test_policies_are_a_collection(node: Node) -> None:
    entity = node.parts.policies
    async with node.database.change("token-policies", "admin", "token-policies.create", "x") as tx:
        for name in ("user:bob", "team:ops"):
            await entity.put(tx, Policy(name=name, default_ttl=DAY))
        await entity.put(tx, Policy(name="user:bob", max_ttl=DAY))
    async with node.database.write() as tx:
        assert [stored.name for stored in await entity.list(tx)] == ["team:ops", "user:bob"]
        stored = await entity.get(tx, "user:bob")
        assert stored is not None and stored.revision == 2
        assert stored.value.model_dump() == {"name": "user:bob", "default_ttl": None, "max_ttl": "1d"}
        await entity.delete(tx, "user:bob")
        assert await entity.get(tx, "user:bob") is None
        with pytest.raises(NotFound):
            await entity.delete(tx, "user:bob")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "alice"},
        {"name": "admin:x"},
        {"name": "user:alice", "default_ttl": "2d", "max_ttl": "1d"},
        {"name": "user:alice", "max_ttl": "0d"},
        {"name": "user:alice", "max_ttl": "9999d"},
        {"name": "user:alice", "max_ttl": "soon"},
        {"name": "user:alice", "ttl": "1d"},
    ],
)
def test_a_policy_that_cannot_be_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Policy.model_validate(body)


def test_the_settings_must_fit_together() -> None:
    with pytest.raises(ValidationError, match="default_ttl is longer than max_ttl; make it shorter"):
        TokensSettings.model_validate({"default_ttl": "2d", "max_ttl": "1d"})


@given(st.integers(1, LONGEST))
def test_durations_are_read_as_they_are_written(length: int) -> None:
    assert seconds(duration(length)) == length


@pytest.mark.parametrize(
    ("written", "is_taken"), [("1h", True), (3600, True), ("\u0663h", False), ("1 h", False), (0, False), (1.5, False)]
)
def test_the_schema_of_lifetimes_says_how_they_are_written(written: object, is_taken: bool) -> None:
    adapter = TypeAdapter(Duration)

    assert Draft202012Validator(adapter.json_schema()).is_valid(written) == is_taken
    if is_taken:
        assert adapter.validate_python(written, strict=True) == 3600
    else:
        with pytest.raises(ValidationError):
            adapter.validate_python(written, strict=True)
