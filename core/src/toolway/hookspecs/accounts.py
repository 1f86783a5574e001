"""Users, service accounts and teams as requests and plugins see them: `kernel.accounts`, a part of the snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from toolway.errors import Unauthenticated
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.permissions import Limits

ADMIN = "admin"
"""The scope of administrators: whoever has it may do everything within the limits of the credential."""

TeamRole = Literal["owner", "member", "viewer"]


class Account(msgspec.Struct, frozen=True):
    """A user or a service account. Its id is `user:<name>` or `service:<name>`; a name is never given twice.

    `provider` names who verifies it (`local`, or a directory or identity provider); `owner` is the user or team that a
    service account belongs to; `groups` are those of a directory.
    """

    kind: Literal["user", "service"]
    name: str
    display_name: str = ""
    email: str = ""
    enabled: bool = True
    admin: bool = False
    provider: str = "local"
    owner: str = ""
    teams: Mapping[str, TeamRole] = {}
    groups: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The principal's id, unique among users and service accounts; revoking it drops all credentials."""
        return f"{self.kind}:{self.name}"


class Team(msgspec.Struct, frozen=True):
    """A team; its id is `team:<name>`."""

    name: str
    description: str = ""
    members: Mapping[str, TeamRole] = {}


class Accounts(msgspec.Struct, frozen=True):
    """All accounts by id and all teams by name; immutable."""

    accounts: Mapping[str, Account] = {}
    teams: Mapping[str, Team] = {}

    def get(self, account_id: str) -> Account | None:
        """The account with that id, enabled or not."""
        return self.accounts.get(account_id)

    def principal(
        self, account_id: str, credential: str, limits: Limits | None = None, *, single_use: bool = False
    ) -> Principal:
        """The principal for a verified credential of this account.

        Raises:
            Unauthenticated: there is no such account any more, or it is disabled.
        """
        account = self.accounts.get(account_id)
        if account is None or not account.enabled:
            raise Unauthenticated("the account of this credential is disabled or gone; ask an administrator")
        teams, scopes = tuple(sorted(account.teams)), frozenset({ADMIN} if account.admin else ())
        about = account.id, account.kind, account.name, teams, account.groups
        return Principal(*about, scopes, credential, limits, single_use)


NO_ACCOUNTS = Accounts()
