"""What operators declare: settings of upstreams and virtual servers, as in the file, the API and the CLI."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?")
REFERENCE = re.compile(r"[a-z][a-z0-9+-]*:.+", re.DOTALL)


def _name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(f"name {value!r} must be 1 to 48 of a-z, 0-9 and '-', not starting or ending with '-'")
    return value


def _reference(value: str, info: ValidationInfo) -> str:
    if info.context is not None:  # from the API: what makes a reference of each text, or refuses it
        value = info.context(value)
    if not REFERENCE.fullmatch(value):
        raise ValueError("must be a secret reference such as env:NAME or file:/path, not a value")
    return value


HIDDEN = "sealed:hidden"
"""How a stored credential looks when it is read back; sent again it means: keep it."""

Name = Annotated[str, AfterValidator(_name), Field(json_schema_extra={"pattern": f"^{NAME.pattern}$"})]
"""The name of an upstream or server: 1 to 48 of a-z, 0-9 and '-'."""

SecretRef = Annotated[str, AfterValidator(_reference), Field(json_schema_extra={"format": "secret-reference"})]
"""A reference `scheme:rest` to a secret, never the secret itself."""

OWNER = re.compile(rf"(?:user|service|team):{NAME.pattern}|")

Owner = Annotated[str, Field(pattern=f"^(?:{OWNER.pattern})$")]
"""The id of a user, service account or team, such as `team:ops`; empty for the gateway's own."""

Visibility = Literal["private", "team", "public"]
"""Whom something is for, of those who have the permission: its owner, the owning team, everybody."""

Seconds = Annotated[float, Field(ge=0)]
"""A duration in seconds."""


class Definition(BaseModel):
    """The manners of every declared object: unknown keys are errors, instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Timeouts(Definition):
    """Bounds of calls to one upstream, in seconds."""

    first_byte: Seconds = Field(30.0, gt=0, le=900, description="Until the answer must have begun.")
    total: Seconds = Field(60.0, gt=0, le=900, description="Until the answer must be complete.")


class UpstreamSettings(Definition):
    """What every kind of upstream has; kinds add their own fields."""

    name: Name = Field(description="Unique name; the first part of canonical item names.")
    kind: str = Field(description="Which kind of upstream this is.")
    enabled: bool = Field(True, description="A disabled upstream is not contacted and offers nothing.")
    description: str = Field("", max_length=1000, description="For people.")
    owner: Owner = Field("", description="Whose it is: `user:<name>`, `team:<name>`, or empty.")
    visibility: Visibility = Field(
        "public", description="Who may see it, of those with the permission: the owner, the owning team, everybody."
    )
    auth: Any = Field(None, description="How the gateway authenticates itself; `type` chooses.")
    sharing: Literal["session", "principal", "shared"] = Field(
        "session",
        description="Who may share a legacy conversation: one client session, one principal, or everybody "
        "(then no client capabilities are declared).",
    )
    allow_private: bool = Field(False, description="Allow addresses that are not public, such as 127.0.0.1.")
    timeouts: Timeouts = Field(Timeouts(), description="Bounds of calls, in seconds.")
    in_flight: int = Field(64, ge=1, le=10_000, description="Calls at the same time on one node.")
    retries: int = Field(2, ge=0, le=5, description="Further attempts where repeating is safe.")
    refresh_interval: float = Field(300.0, ge=5, description="Between scheduled discoveries, in seconds.")


class ItemOverride(Definition):
    """How one server shows one item differently."""

    alias: str | None = Field(None, pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="Exposed name.")
    title: str | None = Field(None, description="Replaces the title.")
    description: str | None = Field(None, description="Replaces the description.")
    arguments: dict[str, Any] = Field(
        {}, description="Tool arguments fixed by the operator: hidden from the schema, set on every call."
    )


class ServerSettings(Definition):
    """A virtual server: a named selection of items."""

    name: Name = Field(description="Unique name; served at /servers/<name>/mcp.")
    description: str = Field("", max_length=1000, description="For people.")
    owner: Owner = Field("", description="Whose it is: `user:<name>`, `team:<name>`, or empty.")
    visibility: Visibility = Field(
        "public", description="Who may see it, of those with the permission: the owner, the owning team, everybody."
    )
    instructions: str | None = Field(None, description="For models; default: those of its upstreams, joined.")
    access: Literal["public", "authenticated"] = Field(
        "authenticated", description="Whether clients without a credential are let in."
    )
    naming: Literal["prefix", "plain"] = Field(
        "prefix", description="`upstream__item`, or the items' own names (then collisions are reported)."
    )
    on_collision: Literal["error", "prefix"] = Field(
        "error", description="With plain names: leave colliding items out and report them, or prefix those."
    )
    include: tuple[str, ...] = Field(("*/*",), description="Patterns over canonical names; `*` matches anything.")
    exclude: tuple[str, ...] = Field((), description="Patterns of what is left out of `include`.")
    items: dict[str, ItemOverride] = Field({}, description="Changes to single items, by canonical name.")
