"""The part `accounts` of the snapshot: everybody there is, as requests read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlmodel import select

from toolway.bundled.accounts.entities import PART
from toolway.bundled.accounts.models import AccountRow, MemberRow, TeamRow
from toolway.hookspecs.accounts import Account, Accounts, Team, TeamRole
from toolway.hookspecs.system import Transaction


class AccountsPart:
    """All accounts and teams."""

    name = PART
    after: tuple[str, ...] = ()

    async def load(self, tx: Transaction, parts: Mapping[str, Any]) -> Accounts:
        """See `SnapshotPart`."""
        teams: dict[str, dict[str, TeamRole]] = {}
        members: dict[str, dict[str, TeamRole]] = {}
        for each in await tx.session.exec(select(MemberRow)):
            role: Any = each.role
            teams.setdefault(each.account, {})[each.team] = role
            members.setdefault(each.team, {})[each.account] = role
        accounts = [_account(row, teams.get(row.id, {})) for row in await tx.session.exec(select(AccountRow))]
        rows = await tx.session.exec(select(TeamRow))
        return Accounts(
            {each.id: each for each in accounts},
            {row.name: Team(row.name, row.description, members.get(row.name, {})) for row in rows},
        )


def _account(row: AccountRow, teams: Mapping[str, TeamRole]) -> Account:
    kind: Any = row.kind
    return Account(
        kind=kind,
        name=row.name,
        display_name=row.display_name,
        email=row.email,
        enabled=row.enabled,
        admin=row.admin,
        provider=row.provider,
        owner=row.owner,
        teams=teams,
    )
