"""Nobody gives away more than they have: what whoever changes roles and bindings must hold."""

from __future__ import annotations

from collections.abc import Iterable

from toolway.hookspecs.auth import Principal
from toolway.hookspecs.permissions import Permission
from toolway.plugin import Forbidden
from toolway_rbac.authorizer import Describe, holds, team_of
from toolway_rbac.definitions import Binding, Role
from toolway_rbac.permits import is_within, parsed
from toolway_rbac.policy import Policy, Rights


class Delegation:
    """What one principal may hand out under a policy, at a time in seconds since 1970."""

    def __init__(self, policy: Policy, principal: Principal, now: float, describe: Describe) -> None:
        self._policy = policy
        self._principal = principal
        self._rights: Rights = policy.rights(principal, now)
        self._describe = describe

    def check_role(self, before: Role | None, after: Role | None) -> None:
        """Whoever changes a role must hold what it gave and what it is to give: a binding may deny it, too.

        Raises:
            Forbidden: names the permission that is missing.
        """
        for role in (before, after):
            if role is not None:
                self.demand(map(parsed, role.permissions))

    def check_binding(self, before: Binding | None, after: Binding | None) -> None:
        """Whoever writes a binding must hold what it gives or denies; whoever ends a denial, what it denied.

        The administrator of a team must also hold what a binding gave that they change or end.

        Raises:
            Forbidden: names the permission that is missing, or says that the subject is out of reach.
        """
        for binding in (before, after):
            if binding is None:
                continue
            self.check_subject(binding)
            if binding is after or binding.effect == "deny" or not self._writes(binding):
                self.demand(self._policy.needed(binding.role, binding.permission))

    def check_subject(self, binding: Binding) -> None:
        """The principal must be allowed to write bindings of this subject: of all, or of a team that it administers.

        Raises:
            Forbidden: says what is needed.
        """
        if self._writes(binding):
            return
        if binding.effect == "deny" or not team_of(self._policy, self._rights, binding.subject):
            raise Forbidden(
                "who administers a team makes bindings that allow something to the team, its members and its service "
                f"accounts; to {binding.effect} something to {binding.subject} needs the permission 'bindings:write'",
                permission="bindings:write",
            )

    def demand(self, permissions: Iterable[Permission]) -> None:
        """What is given or taken must be the principal's own.

        Raises:
            Forbidden: names the permission that is missing.
        """
        for each in permissions:
            if not self.holds(each):
                raise Forbidden(
                    f"this gives or takes {each}, which you do not have yourself; leave it to somebody who has it",
                    permission=str(each),
                    scope=str(each),
                )

    def holds(self, wanted: Permission) -> bool:
        """Whether the principal has all of this permission, within the limits of its credential."""
        limits = self._principal.limits
        scopes = limits.scopes if limits else ()
        if scopes and not any(is_within(wanted, parsed(scope)) for scope in scopes):
            return False
        return holds(self._rights, self._principal, wanted, self._describe)

    def _writes(self, binding: Binding) -> bool:
        """Whether the principal has the permission for this binding, and not only as the administrator of a team."""
        return self._rights.is_admin or self._rights.rules.verdict("bindings:write", binding.name) is True
