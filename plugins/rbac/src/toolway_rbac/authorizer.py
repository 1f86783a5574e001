"""Decides by roles, bindings, ownership and visibility; in memory, and mostly from memory."""

from __future__ import annotations

from collections.abc import Callable

from toolway.hookspecs.auth import Decision, Principal, Resource
from toolway.hookspecs.permissions import ITEM_ACTIONS
from toolway_rbac.definitions import EVERYBODY
from toolway_rbac.policy import RANKS, Policy, Rights

ALLOW, DENY, ABSTAIN = Decision.ALLOW, Decision.DENY, Decision.ABSTAIN

USING = ITEM_ACTIONS | {"servers:connect"}
"""What is done with servers: a public one lets everybody do it, and owning something does not count."""

UNOWNED = frozenset({"users", "service-accounts", "teams", "roles", "bindings"})
"""Areas of identity: who owns an object there may read it, and no more."""

UNNAMED = "*"
"""The name when an action is about a whole collection, or about an object that is not named yet."""


class RbacAuthorizer:
    """`policy` gives the one in force, `now` the time in seconds since 1970."""

    name = "rbac"
    complete = True

    def __init__(self, policy: Callable[[], Policy], now: Callable[[], float]) -> None:
        self._policy = policy
        self._now = now

    def decide(self, principal: Principal, action: str, resource: Resource) -> Decision:
        """See `Authorizer`: administrators may do everything; then what is denied or hidden is refused."""
        policy = self._policy()
        rights = policy.rights(principal, self._now())
        if rights.is_admin:
            return ALLOW
        if resource.visibility != "public" and not resource.is_for(principal):
            return DENY
        verdict = rights.rules.verdict(action, resource.name)
        if verdict is None:
            return ALLOW if by_circumstance(policy, rights, principal, action, resource) else ABSTAIN
        return ALLOW if verdict else DENY

    def visibility(self, principal: Principal, server: str) -> str:
        """All with equal permissions see the same."""
        return self._policy().rights(principal, self._now()).rules.key


def by_circumstance(policy: Policy, rights: Rights, principal: Principal, action: str, resource: Resource) -> str:
    """Why it is allowed although no binding says so; empty when it is not."""
    if action in USING:
        return "the server is public" if resource.access == "public" else ""
    if is_owner(rights, principal, action, resource):
        return f"it belongs to {resource.owner}"
    team = managed_team(policy, rights, action, resource.name)
    return f"it is a matter of the team {team!r}, which the principal administers" if team else ""


def is_owner(rights: Rights, principal: Principal, action: str, resource: Resource) -> bool:
    """Whether it may do this because the object is its own or its team's: viewers of a team only read."""
    if not resource.owner:
        return False
    area, _, verb = action.partition(":")
    if verb != "read" and area in UNOWNED:
        return False
    if resource.owner == principal.id:
        return True
    kind, _, team = resource.owner.partition(":")
    role = rights.teams.get(team) if kind == "team" else None
    return role is not None and (verb == "read" or RANKS[role] >= RANKS["member"])


def managed_team(policy: Policy, rights: Rights, action: str, name: str) -> str:
    """The team that the principal administers and that this action is a matter of; empty when there is none.

    Its administrator may change the team, and try to make bindings: what they may say is looked at when it is known.
    """
    area, _, verb = action.partition(":")
    if verb not in ("read", "write"):
        return ""
    if area == "teams":
        return name if rights.manages(name) else ""
    if area != "bindings":
        return ""
    binding = policy.bindings.get(name)
    if binding is not None:
        return team_of(policy, rights, binding.subject)
    is_new = verb == "write" or name == UNNAMED
    return next((team for team in rights.teams if is_new and rights.manages(team)), "")


def team_of(policy: Policy, rights: Rights, subject: str) -> str:
    """The team that the principal administers and whose matter this subject is; empty when there is none.

    Subjects of a team are the team itself, its members, and the service accounts that it owns.
    """
    kind, _, name = subject.partition(":")
    if subject == EVERYBODY or kind == "group":
        return ""
    if kind == "team":
        return name if rights.manages(name) else ""
    account = policy.accounts.get(subject)
    if account is None:
        return ""
    teams = [*account.teams, *([account.owner.removeprefix("team:")] if account.owner.startswith("team:") else ())]
    return next((team for team in teams if rights.manages(team)), "")
