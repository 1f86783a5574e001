"""Decides by roles, bindings, ownership and visibility; in memory, and mostly from memory."""

from __future__ import annotations

from collections.abc import Callable

from toolway.hookspecs.auth import Decision, Principal, Resource
from toolway.hookspecs.permissions import ITEM_ACTIONS, Permission
from toolway_rbac.definitions import EVERYBODY
from toolway_rbac.patterns import ANYTHING
from toolway_rbac.policy import RANKS, Bound, Policy, Rights

Describe = Callable[[str, str], Resource]

ALLOW, DENY, ABSTAIN = Decision.ALLOW, Decision.DENY, Decision.ABSTAIN

USING = ITEM_ACTIONS | {"servers:connect"}
"""What is done with servers: a public one lets everybody do it, and owning something does not count."""

UNOWNED = frozenset({"users", "service-accounts", "teams", "roles", "bindings"})
"""Areas of identity: who owns an object there may read it, and no more."""

UNNAMED = "*"
"""The name when an action is about a whole collection, or about an object that is not named yet."""


class RbacAuthorizer:
    """`policy` gives the one in force, `now` the time in seconds since 1970, `describe` what an action is about."""

    name = "rbac"
    complete = True

    def __init__(self, policy: Callable[[], Policy], now: Callable[[], float], describe: Describe) -> None:
        self._policy = policy
        self._now = now
        self._describe = describe

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
            reason = by_circumstance(policy, rights, principal, action, resource, self._describe)
            return ALLOW if reason else ABSTAIN
        return ALLOW if verdict else DENY

    def visibility(self, principal: Principal, server: str) -> str:
        """All with equal permissions see the same."""
        return self._policy().rights(principal, self._now()).rules.key


def by_circumstance(
    policy: Policy, rights: Rights, principal: Principal, action: str, resource: Resource, describe: Describe
) -> str:
    """Why it is allowed although no binding says so; empty when it is not."""
    if action in USING:
        return "the server is public" if resource.access == "public" else ""
    if is_owner(rights, principal, action, resource):
        return f"it belongs to {resource.owner}"
    team = managed_team(policy, rights, principal, action, resource.name, describe)
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


def holds(rights: Rights, principal: Principal, wanted: Permission, describe: Describe) -> bool:
    """Whether the principal has all of this permission, or it is about one object that is its own to change."""
    if rights.is_admin:
        return True
    if rights.rules.denied.touches(wanted):
        return False
    if rights.rules.allowed.covers(wanted):
        return True
    area, _, verb = wanted.action.partition(":")
    if wanted.action in USING or ANYTHING in wanted.pattern or (verb == ANYTHING and area == "servers"):
        return False
    action = f"{area}:write"
    return is_owner(rights, principal, action, describe(action, wanted.pattern))


def managed_team(
    policy: Policy, rights: Rights, principal: Principal, action: str, name: str, describe: Describe
) -> str:
    """The team that the principal administers and that this action is a matter of; empty when there is none.

    Its administrator may change the team, see, change and end the bindings that it could have made, and try to make
    others: what they may say is looked at when it is known.
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
        return could_make(policy, rights, principal, binding, describe)
    is_new = verb == "write" or name == UNNAMED
    return next((team for team in rights.teams if is_new and rights.manages(team)), "")


def could_make(policy: Policy, rights: Rights, principal: Principal, binding: Bound, describe: Describe) -> str:
    """The team whose administrator the principal could make this binding as; empty when there is none."""
    team = team_of(policy, rights, binding.subject) if binding.effect == "allow" else ""
    needed = policy.needed(binding.role, binding.permission) if team else ()
    return team if all(holds(rights, principal, each, describe) for each in needed) else ""


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
