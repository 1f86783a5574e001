"""Why something is allowed or not: the same decision as the authorizer's, with everything that leads to it."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel, Field

from toolway.hookspecs.accounts import ADMIN
from toolway.hookspecs.auth import Principal, Resource
from toolway.hookspecs.definitions import Visibility
from toolway_rbac.authorizer import Describe, by_circumstance
from toolway_rbac.permits import ALL, permits
from toolway_rbac.policy import Bound, Policy, Rights

UNSEEN = "there is no such object, or it is not for whoever asks"


class Reason(BaseModel):
    """A binding that allows or denies it."""

    binding: str = Field(description="Its name; `baseline` for the setting of that name.")
    subject: str = Field(description="Whom it is for.")
    role: str = Field(description="The role that it gives; empty for a single permission.")
    permission: str = Field(description="Which of its permissions matches.")
    expires_at: float | None = Field(description="When it ends, in seconds since 1970; null for never.")


class Explanation(BaseModel):
    """A decision and what leads to it."""

    allowed: bool
    reason: str = Field(description="What decided, in a sentence.")
    user: str = Field(description="The principal.")
    action: str
    resource: str = Field(description="The name of the object.")
    owner: str = Field("", description="Whose the object is; empty for the gateway's own.")
    visibility: Visibility = Field("public", description="Whom the object is for, of those who have the permission.")
    allowed_by: list[Reason] = Field([], description="Every binding that allows it.")
    denied_by: list[Reason] = Field([], description="Every binding that denies it.")


def explain(
    policy: Policy,
    principal: Principal,
    action: str,
    resource: Resource,
    now: float,
    describe: Describe,
    is_told: Callable[[str], bool] = lambda binding: True,
) -> Explanation:
    """What the authorizer decides at this time, in seconds since 1970, and why; `is_told` says of which bindings."""
    bound = [
        (each.effect, reason)
        for each in policy.bound(principal, now)
        for reason in _reasons(policy, each, action, resource.name)
    ]
    found = Explanation(
        allowed=False,
        reason="",
        user=principal.id,
        action=action,
        resource=resource.name,
        owner=resource.owner,
        visibility=resource.visibility,
        allowed_by=[reason for effect, reason in bound if effect == "allow"],
        denied_by=[reason for effect, reason in bound if effect == "deny"],
    )
    rights = policy.rights(principal, now)
    circumstance = by_circumstance(policy, rights, principal, action, resource, describe)

    def named(binding: str) -> str:
        return f"the binding {binding!r}" if is_told(binding) else "a binding that is not for whoever asks"

    found.allowed, found.reason = _decide(principal, rights, resource, found, circumstance, named)
    found.allowed_by = [reason for reason in found.allowed_by if is_told(reason.binding)]
    found.denied_by = [reason for reason in found.denied_by if is_told(reason.binding)]
    return found


def unseen(user: str, action: str, name: str) -> Explanation:
    """The answer about what does not exist, and about what whoever asks does not see."""
    return Explanation(allowed=False, reason=UNSEEN, user=user, action=action, resource=name)


def _decide(
    principal: Principal,
    rights: Rights,
    resource: Resource,
    found: Explanation,
    circumstance: str,
    named: Callable[[str], str],
) -> tuple[bool, str]:
    if rights.is_admin:
        given = next((one.binding for one in found.allowed_by if one.permission == str(ALL)), "")
        how = "its account is one" if ADMIN in principal.scopes else f"{named(given)} makes it one"
        return True, f"{principal.id} is an administrator: {how}"
    if not resource.is_for(principal):
        return False, f"the object is {resource.visibility} and belongs to {resource.owner or 'the gateway'}"
    if found.denied_by:
        return False, f"{named(found.denied_by[0].binding)} denies it"
    if found.allowed_by:
        return True, f"{named(found.allowed_by[0].binding)} allows it"
    return bool(circumstance), circumstance or "no binding allows it"


def _reasons(policy: Policy, binding: Bound, action: str, name: str) -> list[Reason]:
    """At most one: the first permission that matches."""
    found = next((each for each in policy.given(binding.role, binding.permission) if permits(each, action, name)), None)
    if found is None:
        return []
    given = {"subject": binding.subject, "role": binding.role, "expires_at": binding.expires_at}
    return [Reason(binding=binding.name, permission=str(found), **given)]
