"""What the API of keys takes and answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from toolway.hookspecs.api import PageQuery
from toolway.hookspecs.definitions import NAME, Name, Owner
from toolway.hookspecs.permissions import PERMISSION, Permission, networks
from toolway_server_keys.durations import Duration, Grace
from toolway_server_keys.key import Key, State


def _scope(text: str) -> str:
    Permission.parse(text)
    return text


def _network(text: str) -> str:
    return str(networks([text])[0])


_WRITTEN = rf"^(?:admin:\*|{PERMISSION.pattern})$"
Scope = Annotated[str, AfterValidator(_scope), Field(max_length=512, json_schema_extra={"pattern": _WRITTEN})]
Pattern = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\s\x00-\x1f]+$")]
Network = Annotated[str, AfterValidator(_network), Field(max_length=64)]


class NewKey(BaseModel):
    """What is asked for."""

    model_config = ConfigDict(extra="forbid")

    servers: list[Name] = Field(min_length=1, max_length=100, description="The virtual servers that it opens, by name.")
    description: str = Field("", max_length=200, description="For people.")
    owner: Owner | None = Field(
        None,
        description="Whose it is, and what it may do at most: `user:<name>`, `service:<name>` or `team:<name>`, by "
        "default oneself; empty for the gateway's own.",
    )
    ttl: Duration | None = Field(None, description="How long it lives, such as `30d`.")
    expires_at: AwareDatetime | None = Field(None, description="When it ends, in place of `ttl`.")
    items: list[Pattern] = Field(
        [], max_length=100, description="Patterns of canonical names of tools, prompts and resources it is limited to."
    )
    scopes: list[Scope] = Field(
        [], max_length=100, description="Permissions it is limited to, such as `tools:call:billing/*`."
    )
    networks: list[Network] = Field([], max_length=100, description="Client networks it is accepted from.")


class Rotation(BaseModel):
    """How a secret is replaced."""

    model_config = ConfigDict(extra="forbid")

    grace: Grace | None = Field(None, description="How long the old secret is accepted, such as `24h` or `0s`.")
    ttl: Duration | None = Field(None, description="How long the new one lives; by default as long as the first.")


class KeyView(BaseModel):
    """A key; its secret is shown once, when it is made."""

    name: str = Field(description="Its public id, the part after `twk_`.")
    description: str
    servers: list[str]
    owner: str = Field(description="Whose it is; empty for the gateway's own.")
    maker: str = Field(description="The principal that made it.")
    items: list[str]
    scopes: list[str]
    networks: list[str]
    state: State
    created_at: datetime
    expires_at: datetime
    rotated_at: datetime | None
    grace_until: datetime | None = Field(description="Until when the secret before the present one is accepted.")
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")
    last_address: str
    last_client: str = Field(description="What the client calls itself.")


class MadeKey(KeyView):
    """A key with its secret."""

    key: str = Field(description="What clients send; it is not stored and not shown again.")


class KeyQuery(PageQuery):
    """Which keys."""

    server: str = Field("", pattern=rf"^(?:{NAME.pattern})?$", description="Those that open this server only.")


def view(key: Key, now: float, /, **more: Any) -> dict[str, Any]:
    """The members of a `KeyView`."""
    same = ("description", "owner", "maker", "last_address", "last_client")
    lists = ("servers", "items", "scopes", "networks")
    times = ("created_at", "expires_at", "rotated_at", "revoked_at", "last_used_at")
    state = key.state(now)
    in_grace = state == "active" and key.previous_until > now
    return {
        "name": key.id,
        **{name: getattr(key, name) for name in same},
        **{name: list(getattr(key, name)) for name in lists},
        **{name: _time(getattr(key, name)) for name in times},
        "state": state,
        "grace_until": _time(key.previous_until) if in_grace else None,
        **more,
    }


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(int(seconds), UTC)
