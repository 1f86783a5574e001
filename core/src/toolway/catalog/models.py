"""The kernel's tables. Validation happens on the definitions; rows hold what passed it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary
from sqlmodel import Field, SQLModel


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


class RevocationRow(SQLModel, table=True):
    """A revoke key whose credentials every node forgets; `number` is the revision that brought it."""

    __tablename__ = "revocation"
    number: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    key: str = Field(primary_key=True, max_length=128)


class KeyRow(SQLModel, table=True):
    """A key of the ring, wrapped by the root key."""

    __tablename__ = "ring_key"
    id: str = Field(primary_key=True, max_length=16)
    created_at: float
    wrapped: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
