"""Whose keys there are: a key may do, on its servers, what its owner may do at that moment, and no more.

So whoever gets a secret gets the rights of the owner there. One makes keys that are one's own or belong to a team in
which one is more than a viewer; administrators make them for every account and team, and for the gateway itself. Keys
of the gateway may do everything on their servers, and outlive people.
"""

from __future__ import annotations

from toolway.hookspecs.accounts import ADMIN, Accounts
from toolway.hookspecs.auth import Principal
from toolway.plugin import Unauthenticated
from toolway_server_keys.key import GATEWAY

LOCAL_ADMIN = "admin"
"""The id of the principal of the local admin token, which is no account: its keys are the gateway's."""


def own(principal: Principal) -> str:
    """The owner of keys that this principal makes without naming one."""
    return GATEWAY if principal.id == LOCAL_ADMIN else principal.id


def objection(accounts: Accounts, maker: Principal, owner: str) -> str:
    """Why this principal may have no secret of a key of this owner; empty when it may."""
    if ADMIN in maker.scopes:
        return "" if is_there(accounts, owner) else f"there is no {owner}; make it first, or name another owner"
    if owner == GATEWAY:
        return "only administrators make keys of the gateway itself; name yourself or a team of yours as the owner"
    if not is_there(accounts, maker.id):
        return f"{maker.id} is no account, and only accounts make keys"
    kind, _, name = owner.partition(":")
    if owner == maker.id or (kind == "team" and accounts.accounts[maker.id].teams.get(name) in ("owner", "member")):
        return ""
    return f"the key would act for {owner}; only {owner}, its members or an administrator may have its secret"


def is_there(accounts: Accounts, owner: str) -> bool:
    """Whether there is such an account or team."""
    if owner.startswith("team:"):
        return owner.removeprefix("team:") in accounts.teams
    return owner == GATEWAY or accounts.get(owner) is not None


def acting(accounts: Accounts, owner: str, credential: str) -> Principal:
    """For whom a key acts; raises Unauthenticated when its owner is disabled or gone."""
    if owner == GATEWAY:
        return Principal(LOCAL_ADMIN, "service", "local admin", scopes=frozenset({ADMIN}), credential=credential)
    if not owner.startswith("team:"):
        return accounts.principal(owner, credential)
    if not is_there(accounts, owner):
        raise Unauthenticated("the team of this key is gone; have a new key made")
    team = owner.removeprefix("team:")
    return Principal(owner, "service", team, teams=(team,), credential=credential)
