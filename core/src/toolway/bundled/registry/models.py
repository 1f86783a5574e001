"""The tables of the registry. Validation happens on the definitions; rows hold what passed it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Text
from sqlmodel import Field, SQLModel


class UpstreamRow(SQLModel, table=True):
    """A registered upstream: `settings` is JSON in the shape of the configuration table."""

    __tablename__ = "registry_upstream"
    name: str = Field(primary_key=True, max_length=48)
    settings: str = Field(sa_column=Column(Text, nullable=False))
    revision: int = Field(sa_column=Column(BigInteger, nullable=False))


class ServerRow(SQLModel, table=True):
    """A virtual server."""

    __tablename__ = "registry_server"
    name: str = Field(primary_key=True, max_length=48)
    settings: str = Field(sa_column=Column(Text, nullable=False))
    revision: int = Field(sa_column=Column(BigInteger, nullable=False))
