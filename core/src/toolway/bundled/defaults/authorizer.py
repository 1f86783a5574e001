"""Who may do what while no plugin decides."""

from __future__ import annotations

from toolway.hookspecs.auth import Decision, Principal, Resource

ADMIN = "admin"
ITEM_ACTIONS = frozenset({"tools:call", "prompts:get", "resources:read"})


class BuiltinAuthorizer:
    """Admins may do everything; whoever may connect to a server may use what it shows; nothing else is allowed."""

    name = "builtin"

    def decide(self, principal: Principal, action: str, resource: Resource) -> Decision:
        """See `Authorizer`."""
        if ADMIN in principal.scopes:
            return Decision.ALLOW
        if action == "servers:connect" or action in ITEM_ACTIONS:
            known = principal.kind != "anonymous"
            return Decision.ALLOW if known or resource.access == "public" else Decision.ABSTAIN
        return Decision.ABSTAIN

    def visibility(self, principal: Principal, server: str) -> str:
        """Everybody who is let in sees the same."""
        return ""
