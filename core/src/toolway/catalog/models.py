"""The kernel's tables. Validation happens on the definitions; rows hold what passed it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Text
from sqlmodel import Field, SQLModel


class UpstreamRow(SQLModel, table=True):
    """A registered upstream: `settings` is JSON in the shape of the configuration table."""

    __tablename__ = "upstream"
    name: str = Field(primary_key=True, max_length=48)
    settings: str = Field(sa_column=Column(Text, nullable=False))
    revision: int = Field(sa_column=Column(BigInteger, nullable=False))


class ServerRow(SQLModel, table=True):
    """A virtual server."""

    __tablename__ = "server"
    name: str = Field(primary_key=True, max_length=48)
    settings: str = Field(sa_column=Column(Text, nullable=False))
    revision: int = Field(sa_column=Column(BigInteger, nullable=False))


class DiscoveryRow(SQLModel, table=True):
    """The last good discovery of an upstream, so that a restart can list its items at once."""

    __tablename__ = "discovery"
    upstream: str = Field(primary_key=True, max_length=48)
    document: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class RevisionRow(SQLModel, table=True):
    """How often a snapshot part changed."""

    __tablename__ = "revision"
    part: str = Field(primary_key=True, max_length=64)
    number: int = Field(sa_column=Column(BigInteger, nullable=False))


class KeyRow(SQLModel, table=True):
    """A key of the ring, wrapped by the root key."""

    __tablename__ = "ring_key"
    id: str = Field(primary_key=True, max_length=16)
    created_at: float
    wrapped: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class ValueRow(SQLModel, table=True):
    """An entry of the `database` key-value store; `expires_at` is Unix seconds."""

    __tablename__ = "keyvalue"
    key: str = Field(primary_key=True, max_length=512)
    value: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    expires_at: float | None = Field(default=None, index=True)


class LeaseRow(SQLModel, table=True):
    """A lock: `fence` grows with every holder and never shrinks."""

    __tablename__ = "lease"
    key: str = Field(primary_key=True, max_length=512)
    holder: str = Field(max_length=64)
    fence: int = Field(sa_column=Column(BigInteger, nullable=False))
    expires_at: float


class MessageRow(SQLModel, table=True):
    """A message of the `database` publish/subscribe."""

    __tablename__ = "message"
    __table_args__ = {"sqlite_autoincrement": True}
    id: int | None = Field(
        default=None,
        sa_column=Column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
    )
    channel: str = Field(max_length=256)
    payload: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    expires_at: float = Field(index=True)


class AdminTokenRow(SQLModel, table=True):
    """A local admin token: only its SHA-256 is kept."""

    __tablename__ = "admin_token"
    id: str = Field(primary_key=True, max_length=16)
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: float
