"""Users, service accounts and teams: what is kept, what is refused, and whose credentials a change drops."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import ValidationError
from sqlmodel import select

from toolway.bundled.accounts.definitions import ServiceAccount, Team, User
from toolway.bundled.accounts.entities import ServiceAccountEntity, TeamEntity, UserEntity
from toolway.bundled.accounts.links import account_of
from toolway.bundled.accounts.models import AccountRow, SessionRow
from toolway.bundled.accounts.part import AccountsPart
from toolway.bundled.accounts.passwords import set_password
from toolway.catalog.models import RevocationRow
from toolway.catalog.store import Store
from toolway.errors import Conflict, InvalidInput, NotFound, Unauthenticated
from toolway.hookspecs.accounts import Accounts
from toolway.hookspecs.auth import Identity

USERS, SERVICES, TEAMS = UserEntity(), ServiceAccountEntity(), TeamEntity()
ENTITIES: dict[type, Any] = {User: USERS, ServiceAccount: SERVICES, Team: TEAMS}


class Directory:
    """The three collections on one database."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @asynccontextmanager
    async def change(self) -> AsyncIterator[Any]:
        async with self.store.change("accounts", "admin", "test", "test") as tx:
            yield tx

    async def put(self, value: Any) -> set[str]:
        """Keep it; what was revoked by that."""
        before = await self.revoked()
        async with self.change() as tx:
            await ENTITIES[type(value)].put(tx, value)
        return await self.revoked() - before

    async def delete(self, kind: type, name: str) -> None:
        async with self.change() as tx:
            await ENTITIES[kind].delete(tx, name)

    async def get(self, kind: type, name: str) -> Any:
        async with self.store.read() as tx:
            return await ENTITIES[kind].get(tx, name)

    async def load(self) -> Accounts:
        async with self.store.read() as tx:
            return await AccountsPart().load(tx, {})

    async def revoked(self) -> set[str]:
        """Every revocation with its number, as `number key`."""
        async with self.store.read() as tx:
            return {f"{row.number} {row.key}" for row in await tx.session.exec(select(RevocationRow))}


@pytest.fixture
def directory(store: Store) -> Directory:
    return Directory(store)


def keys(revoked: set[str]) -> set[str]:
    return {each.partition(" ")[2] for each in revoked}


async def test_everybody_is_in_the_snapshot_with_their_teams(directory: Directory) -> None:
    await directory.put(User(name="alice", display_name="Alice", email="a@example.com", admin=True))
    await directory.put(Team(name="ops", members={"user:alice": "owner"}))
    await directory.put(ServiceAccount(name="bot", owner="team:ops"))
    await directory.put(
        Team(name="dev", description="Builds", members={"user:alice": "viewer", "service:bot": "member"})
    )

    accounts = await directory.load()
    alice, bot = accounts.accounts["user:alice"], accounts.accounts["service:bot"]
    assert (alice.display_name, alice.email, alice.provider) == ("Alice", "a@example.com", "local")
    assert alice.teams == {"ops": "owner", "dev": "viewer"}
    assert (bot.teams, bot.owner) == ({"dev": "member"}, "team:ops")
    assert accounts.teams["dev"].members == {"user:alice": "viewer", "service:bot": "member"}
    principal = accounts.principal("user:alice", "session:1")
    assert (principal.teams, principal.scopes) == (("dev", "ops"), frozenset({"admin"}))


async def test_what_was_put_is_read_back_and_listed_by_name(directory: Directory) -> None:
    for name in ("b", "a"):
        await directory.put(Team(name=name))
        await directory.put(User(name=name))
    async with directory.store.read() as tx:
        assert [each.value for each in await USERS.list(tx)] == [User(name="a"), User(name="b")]
        assert [each.value for each in await TEAMS.list(tx)] == [Team(name="a"), Team(name="b")]
        assert await SERVICES.list(tx) == []
    first = (await directory.get(User, "a")).revision
    await directory.put(User(name="a", email="a@example.com"))
    assert (await directory.get(User, "a")).revision > first


@pytest.mark.parametrize("kind", [User, ServiceAccount, Team])
async def test_a_name_is_never_given_twice(directory: Directory, kind: Any) -> None:
    await directory.put(User(name="root", admin=True))
    await directory.put(kind(name="x"))
    await directory.delete(kind, "x")
    assert await directory.get(kind, "x") is None
    with pytest.raises(Conflict, match="never given twice"):
        await directory.put(kind(name="x"))
    with pytest.raises(NotFound):
        await directory.delete(kind, "x")


async def test_members_must_exist_and_leave_with_their_account(directory: Directory) -> None:
    with pytest.raises(InvalidInput, match="'user:bob'"):
        await directory.put(Team(name="ops", members={"user:bob": "member"}))
    assert await directory.get(Team, "ops") is None
    await directory.put(User(name="bob"))
    await directory.put(Team(name="ops", members={"user:bob": "member"}))
    before = (await directory.get(Team, "ops")).revision
    await directory.delete(User, "bob")
    team = await directory.get(Team, "ops")
    assert (team.value.members, team.revision > before) == ({}, True)


async def test_a_service_account_has_an_owner_that_exists_and_stays(directory: Directory) -> None:
    await directory.put(Team(name="ops"))
    with pytest.raises(InvalidInput, match="'user:nobody'"):
        await directory.put(ServiceAccount(name="bot", owner="user:nobody"))
    await directory.put(ServiceAccount(name="bot", owner="team:ops"))
    with pytest.raises(Conflict, match="owns the service account 'bot'"):
        await directory.delete(Team, "ops")
    await directory.put(ServiceAccount(name="bot"))
    await directory.delete(Team, "ops")


@pytest.mark.parametrize("change", [{"enabled": False}, {"admin": False}, None])
async def test_the_last_enabled_administrator_stays_one(directory: Directory, change: Any) -> None:
    await directory.put(User(name="alice", admin=True))
    await directory.put(User(name="bob", admin=True, enabled=False))

    async def make() -> None:
        if change is None:
            await directory.delete(User, "alice")
        else:
            await directory.put(User(**{"name": "alice", "admin": True, **change}))

    with pytest.raises(Conflict, match="last enabled administrator"):
        await make()
    assert (await directory.load()).accounts["user:alice"].admin
    await directory.put(User(name="bob", admin=True))
    await make()


async def test_a_change_of_rights_or_teams_drops_the_credentials_of_that_account_only(directory: Directory) -> None:
    for name in ("alice", "bob", "root"):
        assert await directory.put(User(name=name, admin=True)) == set()
    assert await directory.put(User(name="alice", admin=True, email="a@example.com")) == set()
    assert keys(await directory.put(User(name="alice"))) == {"user:alice"}
    assert keys(await directory.put(User(name="alice", enabled=False))) == {"user:alice"}
    assert keys(await directory.put(Team(name="ops", members={"user:bob": "member"}))) == {"user:bob"}
    assert await directory.put(Team(name="ops", description="x", members={"user:bob": "member"})) == set()
    both = Team(name="ops", members={"user:bob": "viewer", "user:root": "owner"})
    assert keys(await directory.put(both)) == {"user:bob", "user:root"}
    before = await directory.revoked()
    await directory.delete(Team, "ops")
    await directory.delete(User, "alice")
    assert keys(await directory.revoked() - before) == {"user:bob", "user:root", "user:alice", "team:ops"}


async def test_a_disabled_or_removed_account_is_no_principal(directory: Directory) -> None:
    await directory.put(ServiceAccount(name="bot", enabled=False))
    accounts = await directory.load()
    for account in ("service:bot", "user:nobody"):
        with pytest.raises(Unauthenticated):
            accounts.principal(account, "token:1")


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (User, {"id": "user:a"}),
        (User, {"password": "correct horse battery"}),
        (User, {"teams": {"ops": "owner"}}),
        (User, {"name": "Alice"}),
        (User, {"email": "nobody"}),
        (User, {"display_name": "a\nb"}),
        (User, {"provider": ""}),
        (ServiceAccount, {"admin": True}),
        (ServiceAccount, {"owner": "service:other"}),
        (Team, {"members": {"bob": "member"}}),
        (Team, {"members": {"user:bob": "admin"}}),
        (Team, {"owner": "user:bob"}),
    ],
)
def test_what_an_account_does_not_have_is_refused(kind: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        kind.model_validate({"name": "a", **fields})


async def test_who_is_verified_by_another_loses_password_sessions_and_links(directory: Directory) -> None:
    await directory.put(User(name="alice"))
    async with directory.change() as tx:
        await set_password(tx, "user:alice", "hash")
        tx.session.add(SessionRow(name="1", digest=b"1", account="user:alice", created_at=0, seen_at=0, expires_at=9))
    await directory.put(User(name="alice", provider="ldap"))
    async with directory.store.read() as tx:
        assert (await tx.session.exec(select(SessionRow))).first() is None
    assert await account(directory, Identity("local", "user:alice", "alice")) is None


async def account(directory: Directory, identity: Identity) -> str | None:
    async with directory.store.write() as tx:
        found: AccountRow | None = await account_of(tx, identity)
        return found.id if found else None


async def test_an_identity_is_linked_once_by_provider_and_subject(directory: Directory) -> None:
    await directory.put(User(name="alice", provider="ldap", email="alice@example.com"))
    await directory.put(User(name="bob", provider="ldap"))

    assert await account(directory, Identity("ldap", "7", "alice")) == "user:alice"
    assert await account(directory, Identity("ldap", "7", "renamed")) == "user:alice"
    assert await account(directory, Identity("ldap", "7", "bob")) == "user:alice"
    assert await account(directory, Identity("ldap", "8", "alice")) is None
    assert await account(directory, Identity("oidc", "7", "bob")) is None
    assert await account(directory, Identity("ldap", "9", "alice@example.com")) is None
    await directory.put(User(name="alice", provider="ldap", enabled=False))
    assert await account(directory, Identity("ldap", "7", "alice")) is None


async def test_who_left_and_came_back_under_another_provider_is_linked_anew(directory: Directory) -> None:
    await directory.put(User(name="alice", provider="ldap"))
    assert await account(directory, Identity("ldap", "7", "alice")) == "user:alice"
    await directory.put(User(name="alice", provider="oidc"))
    assert await account(directory, Identity("ldap", "7", "alice")) is None
    assert await account(directory, Identity("oidc", "x", "alice")) == "user:alice"
