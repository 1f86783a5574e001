"""The tables: whose tokens are kept for which upstream, and which server an upstream named first."""

from __future__ import annotations

from sqlalchemy import MetaData, Text
from sqlmodel import Field, SQLModel


class Table(SQLModel):
    """What is one of ours; another package's migrations have nothing to do with them."""

    metadata = MetaData()


class ConnectionRow(Table, table=True):
    """The tokens of one principal for one upstream, `sealed`. Times are Unix seconds; `scopes` is space-separated.

    `revision` grows with each refresh, `connected_at` only when the person consented anew.
    """

    __tablename__ = "user_oauth_connection"
    principal: str = Field(primary_key=True, max_length=255)
    upstream: str = Field(primary_key=True, max_length=48)
    issuer: str = Field(sa_type=Text)
    scopes: str = Field(sa_type=Text)
    sealed: str = Field(sa_type=Text)
    connected_at: float
    refreshed_at: float
    expires_at: float
    revision: int = 1


class IssuerRow(Table, table=True):
    """The authorization server that an upstream named first, as the upstream is declared (`declared` is a digest)."""

    __tablename__ = "user_oauth_issuer"
    upstream: str = Field(primary_key=True, max_length=48)
    declared: str = Field(max_length=64)
    issuer: str = Field(sa_type=Text)
