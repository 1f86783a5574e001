"""Roles and bindings as operators declare them, and the roles that are built in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from toolway.hookspecs.accounts import TeamRole
from toolway.hookspecs.definitions import OWNER, Definition, Name
from toolway.hookspecs.permissions import PERMISSION, Permission

EVERYBODY = "*"
"""The subject that is every principal with a credential."""

NOBODY = "anonymous"
"""The subject that is everybody without a credential."""

MANAGE = "teams:manage"
"""What makes the owner of a team its administrator: changing the team, and the bindings of its members."""

Effect = Literal["allow", "deny"]


def _permission(text: str) -> str:
    return str(Permission.parse(text))


def _subject(text: str) -> str:
    kind, _, name = text.partition(":")
    if text in (EVERYBODY, NOBODY) or (OWNER.fullmatch(text) and text) or (kind == "group" and name.strip()):
        return text
    raise ValueError(
        f"subject {text!r} must be user:<name>, service:<name>, team:<name>, group:<directory group>, "
        "* for everybody with a credential, or anonymous"
    )


_WRITTEN = {"pattern": rf"^(?:admin:\*|{PERMISSION.pattern})$"}
PermissionText = Annotated[str, AfterValidator(_permission), Field(json_schema_extra=_WRITTEN)]
_SUBJECT = {"pattern": rf"^(?=.)(?:\*|anonymous|group:.*\S.*|{OWNER.pattern})$"}
Subject = Annotated[str, Field(max_length=512, json_schema_extra=_SUBJECT), AfterValidator(_subject)]


class Role(Definition):
    """A named bundle of permissions."""

    name: Name = Field(description="Unique name.")
    description: str = Field("", max_length=1000, description="For people.")
    permissions: tuple[PermissionText, ...] = Field(
        max_length=1000, description="What it allows: action:pattern, such as tools:call:billing/*, or admin:*."
    )


class Binding(Definition):
    """Gives a role or a single permission to a subject, or denies it."""

    name: Name = Field(description="Unique name.")
    description: str = Field("", max_length=1000, description="For people.")
    subject: Subject = Field(
        description="Who: user:<name>, service:<name>, team:<name>, group:<directory group>, * (everybody with a "
        "credential) or anonymous (everybody without one)."
    )
    team_role: TeamRole | None = Field(
        None, description="Of a team's members only those with at least this role: viewer, member or owner."
    )
    role: str = Field("", max_length=48, description="The role; or give a permission.")
    permission: PermissionText | Literal[""] = Field("", description="A single permission; or give a role.")
    effect: Effect = Field("allow", description="allow or deny; what one binding denies no other one allows.")
    expires_at: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="When it ends, in seconds since 1970; null for never."
    )

    @model_validator(mode="after")
    def _complete(self) -> Binding:
        if bool(self.role) == bool(self.permission):
            raise ValueError("a binding has either a role or a permission; give one of them")
        if self.team_role and not self.subject.startswith("team:"):
            raise ValueError("team_role goes with a subject team:<name>; remove it or name a team")
        if self.team_role and self.effect == "deny":
            raise ValueError("what is denied to a team is denied to all of it; remove team_role")
        return self


def _role(name: str, description: str, *permissions: str) -> Role:
    return Role(name=name, description=description, permissions=permissions)


_READING = ("servers:read:*", "upstreams:read:*", "items:read:*", "health:read:*")
_USING = ("servers:connect:*", "tools:call:*", "prompts:get:*", "resources:read:*")
_DEVELOPING = ("servers:*:*", "upstreams:*:*", "items:read:*", "health:read:*", *_USING[1:])

BUILTIN_ROLES = {
    role.name: role
    for role in (
        _role("viewer", "Sees upstreams, servers and what they offer.", *_READING),
        _role("caller", "Uses every server and everything that it shows.", *_USING),
        _role("developer", "Uses, sees and changes upstreams and servers.", *_DEVELOPING),
        _role("team-admin", "Manages the teams that its holder owns, and their bindings.", f"{MANAGE}:*", *_READING),
        _role("admin", "Does everything; narrower denials do not bind it.", "admin:*"),
    )
}
