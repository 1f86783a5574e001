"""The tables: rows hold what passed validation, as JSON."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, Text
from sqlmodel import Field, SQLModel


class Table(SQLModel):
    """What is one of ours; another package's migrations have nothing to do with them."""

    metadata = MetaData()


class RoleRow(Table, table=True):
    """A role that somebody declared; the built-in ones have no row."""

    __tablename__ = "rbac_role"
    name: str = Field(primary_key=True, max_length=48)
    settings: str = Field(sa_column=Column(Text, nullable=False))
    revision: int = Field(sa_column=Column(BigInteger, nullable=False))


class BindingRow(Table, table=True):
    """A binding; `role` is the one that it gives or denies, empty for a single permission."""

    __tablename__ = "rbac_binding"
    name: str = Field(primary_key=True, max_length=48)
    role: str = Field(index=True, max_length=48)
    settings: str = Field(sa_column=Column(Text, nullable=False))
    revision: int = Field(sa_column=Column(BigInteger, nullable=False))
