"""The tables of the stores."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary
from sqlmodel import Field, SQLModel


class ValueRow(SQLModel, table=True):
    """An entry of the `database` key-value store; `expires_at` is Unix seconds."""

    __tablename__ = "stores_value"
    key: str = Field(primary_key=True, max_length=512)
    value: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    expires_at: float | None = Field(default=None, index=True)


class LeaseRow(SQLModel, table=True):
    """A lock: `fence` grows with every holder and never shrinks."""

    __tablename__ = "stores_lease"
    key: str = Field(primary_key=True, max_length=512)
    holder: str = Field(max_length=64)
    fence: int = Field(sa_column=Column(BigInteger, nullable=False))
    expires_at: float


class MessageRow(SQLModel, table=True):
    """A message of the `database` publish/subscribe."""

    __tablename__ = "stores_message"
    __table_args__ = {"sqlite_autoincrement": True}
    id: int | None = Field(
        default=None,
        sa_column=Column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
    )
    channel: str = Field(max_length=256)
    payload: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    expires_at: float = Field(index=True)
