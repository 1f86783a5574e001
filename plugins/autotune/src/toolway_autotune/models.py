"""The table of what operators chose."""

from __future__ import annotations

from sqlalchemy import MetaData
from sqlmodel import Field, SQLModel


class Table(SQLModel):
    """What is one of ours; another package's migrations have nothing to do with them."""

    metadata = MetaData()


class ChoiceRow(Table, table=True):
    """What somebody chose for an upstream. `mode` is empty where the configuration decides, `pins` is a JSON object."""

    __tablename__ = "autotune_choice"
    upstream: str = Field(primary_key=True, max_length=48)
    mode: str = Field(default="", max_length=8)
    pins: str = "{}"
    actor: str = Field(default="", max_length=64)
    changed_at: float
