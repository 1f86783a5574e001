"""The tables: tokens without their values, the keys that sign them, and policies of lifetimes."""

from __future__ import annotations

from sqlalchemy import MetaData
from sqlmodel import Field, SQLModel


class Table(SQLModel):
    """What is one of ours; another package's migrations have nothing to do with them."""

    metadata = MetaData()


class TokenRow(Table, table=True):
    """A token as the catalog knows it. Times are Unix seconds; lists are JSON.

    `parent` is the token that was used to make this one. Of a single-use token `used_at` is when it was claimed,
    `waits_for` the call that asked its client for input and may be continued, `ended_at` when its use was over.
    """

    __tablename__ = "tokens_token"
    jti: str = Field(primary_key=True, max_length=32)
    kid: str = Field(max_length=128, index=True)
    description: str = Field(default="", max_length=200)
    subject: str = Field(max_length=64, index=True)
    maker: str = Field(max_length=64)
    parent: str = Field(default="", max_length=32, index=True)
    scopes: str = "[]"
    servers: str = "[]"
    items: str = "[]"
    networks: str = "[]"
    single_use: bool = False
    created_at: float
    expires_at: float = Field(index=True)
    revoked_at: float | None = None
    used_at: float | None = None
    waits_for: str | None = Field(default=None, max_length=64)
    ended_at: float | None = None
    last_used_at: float | None = None
    last_address: str = Field(default="", max_length=64)
    last_client: str = Field(default="", max_length=200)


class KeyRow(Table, table=True):
    """A key; `sealed` is its private part, None when that is elsewhere or was given up.

    The one that signs has no `verifies_until`: for others, that is when the last token that they signed is over.
    """

    __tablename__ = "tokens_key"
    kid: str = Field(primary_key=True, max_length=128)
    public: str
    sealed: str | None = None
    created_at: float
    verifies_until: float | None = None


class PolicyRow(Table, table=True):
    """Lifetimes for a user, a service account or a team; `name` is its id, lifetimes are seconds."""

    __tablename__ = "tokens_policy"
    name: str = Field(primary_key=True, max_length=64)
    default_ttl: int | None = None
    max_ttl: int | None = None
    revision: int = 0
