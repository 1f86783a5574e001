"""Who may do what while no plugin decides."""

from __future__ import annotations

from toolway.hookspecs.accounts import ADMIN
from toolway.hookspecs.auth import Decision, Principal, Resource
from toolway.hookspecs.permissions import ITEM_ACTIONS

ALLOW, DENY, ABSTAIN = Decision.ALLOW, Decision.DENY, Decision.ABSTAIN


class BuiltinAuthorizer:
    """Admins may do everything; whoever may connect to a server may use what it shows and is for them; no more."""

    name = "builtin"
    complete = True

    def decide(self, principal: Principal, action: str, resource: Resource) -> Decision:
        """See `Authorizer`."""
        if ADMIN in principal.scopes:
            return ALLOW
        if resource.visibility != "public" and not resource.is_for(principal):
            return DENY
        if action == "servers:connect" or action in ITEM_ACTIONS:
            return ALLOW if principal.kind != "anonymous" or resource.access == "public" else ABSTAIN
        return ABSTAIN

    def visibility(self, principal: Principal, server: str) -> str:
        """Everybody who is let in sees the same."""
        return ""
