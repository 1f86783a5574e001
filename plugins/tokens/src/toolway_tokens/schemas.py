"""What the API of tokens takes and answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from toolway.hookspecs.api import PageQuery
from toolway.hookspecs.definitions import OWNER
from toolway.hookspecs.permissions import PERMISSION, Permission, networks
from toolway_tokens.claims import MAX_SCOPES
from toolway_tokens.durations import Duration
from toolway_tokens.token import State, Token


def _scope(text: str) -> str:
    Permission.parse(text)
    return text


def _network(text: str) -> str:
    return str(networks([text])[0])


_WRITTEN = rf"^(?:admin:\*|{PERMISSION.pattern})$"
Scope = Annotated[str, AfterValidator(_scope), Field(max_length=512, json_schema_extra={"pattern": _WRITTEN})]
Pattern = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\s\x00-\x1f]+$")]
Network = Annotated[str, AfterValidator(_network), Field(max_length=64)]


class NewToken(BaseModel):
    """What is asked for."""

    model_config = ConfigDict(extra="forbid")

    subject: str = Field(
        "",
        pattern=rf"^(?:{OWNER.pattern}|admin)$",
        description="Whose token: `user:<name>` or `service:<name>`; oneself by default.",
    )
    description: str = Field("", max_length=200, description="For people.")
    ttl: Duration | None = Field(None, description="How long it lives, such as `1h` or `30d`.")
    expires_at: AwareDatetime | None = Field(None, description="When it ends, in place of `ttl`.")
    scopes: list[Scope] = Field(
        [], max_length=MAX_SCOPES, description="Permissions it is limited to, such as `tools:call:billing/*`."
    )
    servers: list[Pattern] = Field([], max_length=100, description="Patterns of the servers it is limited to.")
    items: list[Pattern] = Field(
        [], max_length=100, description="Patterns of canonical names of tools, prompts and resources it is limited to."
    )
    networks: list[Network] = Field([], max_length=100, description="Client networks it is accepted from.")
    single_use: bool = Field(False, description="Good for one call or one administrative request.")


class TokenView(BaseModel):
    """A token in the catalog; its value is shown once, when it is made."""

    name: str = Field(description="Its id, the claim `jti`.")
    description: str
    subject: str = Field(description="The account that it is of.")
    maker: str = Field(description="The account that made it; for a token made with that of another maker, that one.")
    scopes: list[str]
    servers: list[str]
    items: list[str]
    networks: list[str]
    single_use: bool
    state: State
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    used_at: datetime | None = Field(description="When a one-time token was used.")
    last_used_at: datetime | None = Field(description="To the minute.")
    last_address: str
    last_client: str = Field(description="What the client calls itself.")


class MadeToken(TokenView):
    """A token with its value."""

    token: str = Field(description="The token itself; it is not stored and not shown again.")


class TokenQuery(PageQuery):
    """Which tokens."""

    subject: str = Field("", max_length=64, description="Of this account only.")


class SigningKeyView(BaseModel):
    """A key that verifies tokens."""

    kid: str
    alg: str


class KeysView(BaseModel):
    """The keys that verify tokens; the first one signs."""

    items: list[SigningKeyView]


class JsonWebKeys(BaseModel):
    """A JWK Set (RFC 7517 section 5)."""

    keys: list[dict[str, Any]]


def view(token: Token, now: float, /, **more: Any) -> dict[str, Any]:
    """The members of a `TokenView`."""
    times = ("created_at", "expires_at", "revoked_at", "used_at", "last_used_at")
    same = ("description", "subject", "maker", "single_use", "last_address", "last_client")
    lists = ("scopes", "servers", "items", "networks")
    return {
        "name": token.jti,
        **{name: getattr(token, name) for name in same},
        **{name: list(getattr(token, name)) for name in lists},
        **{name: _time(getattr(token, name)) for name in times},
        "state": token.state(now),
        **more,
    }


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(int(seconds), UTC)
