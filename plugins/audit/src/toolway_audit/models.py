"""The tables: the chain of records, and marks of its two ends."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, MetaData
from sqlmodel import Field, SQLModel


class Table(SQLModel):
    """What is one of ours; another package's migrations have nothing to do with them."""

    metadata = MetaData()


class RecordRow(Table, table=True):
    """One record; see `record.Record`. `before`, `after` and `details` are JSON."""

    __tablename__ = "audit_record"
    seq: int = Field(
        sa_column=Column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False)
    )
    at: str
    node: str
    actor: str
    credential: str
    address: str
    request_id: str
    action: str
    object: str
    outcome: str
    before: str
    after: str
    details: str
    previous: str
    hash: str


class MarkRow(Table, table=True):
    """The `head` and the `anchor` of the chain, sealed with a `key`, whose own row has it, sealed by the gateway."""

    __tablename__ = "audit_mark"
    name: str = Field(primary_key=True, max_length=16)
    seq: int = Field(sa_type=BigInteger)
    hash: str = Field(max_length=64)
    sealed: str
