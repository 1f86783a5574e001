"""The collections `users`, `service-accounts` and `teams`.

Every change of them bumps the part `accounts`, which makes them one after the other on all nodes: what a change finds
is still so when it is committed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from sqlalchemy import delete
from sqlmodel import SQLModel, col, select

from toolway.bundled.accounts.definitions import ServiceAccount, Team, User
from toolway.bundled.accounts.models import (
    AccountRow,
    LinkRow,
    MemberRow,
    PasswordRow,
    SessionRow,
    TeamRow,
    TombstoneRow,
)
from toolway.hookspecs.api import ANY, Incoming
from toolway.hookspecs.system import Stored, Transaction
from toolway.plugin import Conflict, Forbidden, InvalidInput, NotFound

PART = "accounts"


class AccountEntity:
    """What users and service accounts have in common."""

    kind = ""
    part = PART
    schema: Any
    prefix = ""

    async def list(self, tx: Transaction) -> Sequence[Stored]:
        """See `Entity`."""
        rows = select(AccountRow).where(AccountRow.kind == self.prefix).order_by(col(AccountRow.name))
        return [self._stored(row) for row in await tx.session.exec(rows)]

    async def get(self, tx: Transaction, name: str) -> Stored | None:
        """See `Entity`."""
        row = await tx.session.get(AccountRow, f"{self.prefix}:{name}")
        return None if row is None else self._stored(row)

    async def put(self, tx: Transaction, value: BaseModel) -> None:
        """See `Entity`."""
        fields = value.model_dump()
        row = await tx.session.get(AccountRow, f"{self.prefix}:{fields['name']}")
        before = None if row is None else self.schema.model_validate(row, from_attributes=True)
        if row is None:
            row = AccountRow(id=f"{self.prefix}:{fields['name']}", kind=self.prefix, name=fields["name"])
            await refuse_used(tx, row.id)
        await self.check(tx, before, value)
        row.sqlmodel_update({**fields, "revision": next_revision(tx, row.revision)})
        tx.session.add(row)
        await tx.session.flush()

    async def delete(self, tx: Transaction, name: str) -> None:
        """See `Entity`; memberships, sessions, links and the password go with it."""
        row = await tx.session.get(AccountRow, f"{self.prefix}:{name}")
        if row is None:
            raise NotFound(f"{self.kind} has no {name!r}")
        await self.check(tx, self.schema.model_validate(row, from_attributes=True), None)
        await _refuse_owner(tx, row.id)
        for team in await tx.session.exec(
            select(TeamRow).join(MemberRow, col(MemberRow.team) == TeamRow.name).where(MemberRow.account == row.id)
        ):
            team.revision = next_revision(tx, team.revision)
            tx.session.add(team)
        await tx.revoke(row.id)
        await tx.session.delete(row)
        await bury(tx, row.id)

    async def check(self, tx: Transaction, before: Any, after: Any) -> None:
        """Refuse a change that must not be, and revoke what it makes invalid; None for no account."""

    def _stored(self, row: AccountRow) -> Stored:
        return Stored(row.name, self.schema.model_validate(row, from_attributes=True), row.revision)


class UserEntity(AccountEntity):
    """People."""

    kind = "users"
    schema = User
    prefix = "user"

    async def check(self, tx: Transaction, before: User | None, after: User | None) -> None:
        """One administrator stays; a user that may do less, or is verified by another, has to sign in again."""
        if before is None:
            return
        if _is_administrator(before) and not _is_administrator(after):
            await _refuse_last_administrator(tx, before.name)
        if after is not None and _rights(before) != _rights(after):
            await end_sessions(tx, f"user:{after.name}")
        if after is not None and before.provider != after.provider:
            await _forget_proofs(tx, f"user:{after.name}")

    def guard(self, incoming: Incoming, before: User | None, after: User | None) -> None:
        """Only administrators change who is one, and what administrators are."""
        if any(user is not None and user.admin for user in (before, after)):
            demand_administrator(incoming)


class ServiceAccountEntity(AccountEntity):
    """Programs."""

    kind = "service-accounts"
    schema = ServiceAccount
    prefix = "service"

    async def check(self, tx: Transaction, before: ServiceAccount | None, after: ServiceAccount | None) -> None:
        """Its owner exists."""
        if after is None:
            return
        if after.owner and not await exists(tx, after.owner):
            raise InvalidInput(f"owner {after.owner!r} does not exist; name a user or a team that does")
        if before is not None and before.enabled != after.enabled:
            await tx.revoke(f"service:{after.name}")


class TeamEntity:
    """Teams with their members."""

    kind = "teams"
    part = PART
    schema: Any = Team

    async def list(self, tx: Transaction) -> Sequence[Stored]:
        """See `Entity`."""
        members: dict[str, dict[str, str]] = {}
        for each in await tx.session.exec(select(MemberRow)):
            members.setdefault(each.team, {})[each.account] = each.role
        rows = await tx.session.exec(select(TeamRow).order_by(col(TeamRow.name)))
        return [_stored_team(row, members.get(row.name, {})) for row in rows]

    async def get(self, tx: Transaction, name: str) -> Stored | None:
        """See `Entity`."""
        row = await tx.session.get(TeamRow, name)
        return None if row is None else _stored_team(row, await members_of(tx, name))

    async def put(self, tx: Transaction, value: BaseModel) -> None:
        """See `Entity`."""
        team = Team.model_validate(value)
        row = await tx.session.get(TeamRow, team.name)
        if row is None:
            await refuse_used(tx, f"team:{team.name}")
            row = TeamRow(name=team.name)
        row.description, row.revision = team.description, next_revision(tx, row.revision)
        tx.session.add(row)
        await tx.session.flush()
        await self._set_members(tx, team)

    async def delete(self, tx: Transaction, name: str) -> None:
        """See `Entity`."""
        row = await tx.session.get(TeamRow, name)
        if row is None:
            raise NotFound(f"teams has no {name!r}")
        await _refuse_owner(tx, f"team:{name}")
        await tx.revoke(f"team:{name}", *await members_of(tx, name))
        await tx.session.delete(row)
        await bury(tx, f"team:{name}")

    async def _set_members(self, tx: Transaction, team: Team) -> None:
        old = await members_of(tx, team.name)
        changed = sorted(account for account, role in {*old.items()} ^ {*team.members.items()})
        for account in dict.fromkeys(changed):
            await set_member(tx, team.name, account, team.members.get(account))


def demand_administrator(incoming: Incoming) -> None:
    """Raise Forbidden unless an administrator asks: nobody gives away more than they have."""
    if not incoming.may("admin:write", ANY):
        raise Forbidden("only an administrator may make, change or remove one", permission="admin:*")


async def set_member(tx: Transaction, team: str, account: str, role: str | None) -> None:
    """Let an account be something in a team, or, without a role, nothing; raises InvalidInput for no such account."""
    row = await tx.session.get(MemberRow, (team, account))
    if role is None:
        await tx.session.delete(row)
    else:
        if row is None and not await exists(tx, account):
            raise InvalidInput(f"there is no account {account!r}; name one as user:<name> or service:<name>")
        row = row or MemberRow(team=team, account=account, role=role)
        row.role = role
        tx.session.add(row)
    await tx.revoke(account)
    await tx.session.flush()


async def members_of(tx: Transaction, team: str) -> dict[str, str]:
    """The role of each member."""
    rows = await tx.session.exec(select(MemberRow).where(MemberRow.team == team).order_by(col(MemberRow.account)))
    return {row.account: row.role for row in rows}


async def end_sessions(tx: Transaction, account: str, except_for: str = "") -> None:
    """End the sessions of an account and, unless one is spared, drop every credential from the caches."""
    ended = select(SessionRow).where(SessionRow.account == account, SessionRow.name != except_for)
    rows = list(await tx.session.exec(ended))
    await tx.revoke(*([f"session:{row.name}" for row in rows] if except_for else [account]))
    for row in rows:
        await tx.session.delete(row)
    await tx.session.flush()


async def exists(tx: Transaction, holder: str) -> bool:
    """Whether there is an account or a team with this id."""
    kind, _, name = holder.partition(":")
    found: SQLModel | None = await (
        tx.session.get(TeamRow, name) if kind == "team" else tx.session.get(AccountRow, holder)
    )
    return found is not None


async def refuse_used(tx: Transaction, holder: str) -> None:
    """Raise Conflict for the id of somebody who is gone."""
    if await tx.session.get(TombstoneRow, holder) is not None:
        raise Conflict(f"{holder!r} was removed, and names are never given twice; choose another name")


async def bury(tx: Transaction, holder: str) -> None:
    """See to it that nobody gets this id again."""
    tx.session.add(TombstoneRow(id=holder))
    await tx.session.flush()


def next_revision(tx: Transaction, revision: int) -> int:
    """What the ETag becomes with this change."""
    return max(revision + 1, getattr(tx, "revision", 0))


def _stored_team(row: TeamRow, members: Mapping[str, str]) -> Stored:
    fields = {"name": row.name, "description": row.description, "members": members}
    return Stored(row.name, Team.model_validate(fields), row.revision)


def _is_administrator(user: User | None) -> bool:
    return user is not None and user.enabled and user.admin


def _rights(user: User) -> tuple[object, ...]:
    return user.enabled, user.admin, user.provider


async def _refuse_last_administrator(tx: Transaction, name: str) -> None:
    others = select(AccountRow).where(
        AccountRow.kind == "user", col(AccountRow.enabled), col(AccountRow.admin), AccountRow.name != name
    )
    if (await tx.session.exec(others)).first() is None:
        raise Conflict(f"user {name!r} is the last enabled administrator; make another user one first")


async def _forget_proofs(tx: Transaction, account: str) -> None:
    """What the former provider knew the account by."""
    await tx.session.exec(delete(PasswordRow).where(col(PasswordRow.account) == account))
    await tx.session.exec(delete(LinkRow).where(col(LinkRow.account) == account))


async def _refuse_owner(tx: Transaction, holder: str) -> None:
    owned = (await tx.session.exec(select(AccountRow).where(AccountRow.owner == holder))).first()
    if owned is not None:
        raise Conflict(f"{holder!r} owns the service account {owned.name!r}; give it another owner or remove it first")
