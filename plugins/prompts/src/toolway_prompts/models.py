"""The table: rows hold what passed validation, as JSON."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, Text
from sqlmodel import Field, SQLModel


class Table(SQLModel):
    """What is one of ours; another package's migrations have nothing to do with them."""

    metadata = MetaData()


class CollectionRow(Table, table=True):
    """A collection that was declared by API."""

    __tablename__ = "prompts_collection"
    name: str = Field(primary_key=True, max_length=48)
    settings: str = Field(sa_column=Column(Text, nullable=False))
    revision: int = Field(sa_column=Column(BigInteger, nullable=False))
