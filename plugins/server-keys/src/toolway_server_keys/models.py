"""The table of keys: hashes of their secrets, never the secrets."""

from __future__ import annotations

from sqlalchemy import Column, LargeBinary, MetaData
from sqlmodel import Field, SQLModel


class Table(SQLModel):
    """What is one of ours; another package's migrations have nothing to do with them."""

    metadata = MetaData()


class KeyRow(Table, table=True):
    """A key. Times are Unix seconds, `lifetime` is seconds, lists are JSON.

    `digest` is that of the present secret, which ends at `expires_at`; `previous` is that of the secret before, which
    is accepted until `previous_until`. `generation` counts the secrets. `made_with`, `present_with` and `previous_with`
    name the credentials that the key and these secrets were made with, as far as those end; no secret outlives
    `ends_at`, the end of the first of them, if it is not 0.
    """

    __tablename__ = "server_keys_key"
    id: str = Field(primary_key=True, max_length=16)
    description: str = Field(default="", max_length=200)
    owner: str = Field(default="", max_length=64, index=True)
    maker: str = Field(max_length=64)
    servers: str
    items: str = "[]"
    scopes: str = "[]"
    networks: str = "[]"
    generation: int = 1
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    expires_at: float = Field(index=True)
    previous: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    previous_until: float = 0.0
    lifetime: int
    created_at: float
    rotated_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None
    last_address: str = Field(default="", max_length=64)
    last_client: str = Field(default="", max_length=200)
    made_with: str = Field(default="", max_length=128, index=True)
    present_with: str = Field(default="", max_length=128, index=True)
    previous_with: str = Field(default="", max_length=128, index=True)
    ends_at: float = 0.0
