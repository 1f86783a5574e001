"""Who may do what while no plugin decides."""

from __future__ import annotations

from toolway.hookspecs.accounts import ADMIN
from toolway.hookspecs.auth import Decision, Principal, Resource
from toolway.hookspecs.permissions import ITEM_ACTIONS


class BuiltinAuthorizer:
    """Admins may do everything; whoever may connect to a server may use what it shows and is for them; no more."""

    name = "builtin"
    complete = True

    def decide(self, principal: Principal, action: str, resource: Resource) -> Decision:
        """See `Authorizer`."""
        if ADMIN in principal.scopes:
            return Decision.ALLOW
        if not resource.is_for(principal):
            return Decision.DENY
        if action == "servers:connect" or action in ITEM_ACTIONS:
            known = principal.kind != "anonymous"
            return Decision.ALLOW if known or resource.access == "public" else Decision.ABSTAIN
        return Decision.ABSTAIN

    def visibility(self, principal: Principal, server: str) -> str:
        """Everybody who is let in sees the same."""
        return ""
