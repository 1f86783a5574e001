"""The tables of accounts. Validation happens on the definitions; rows hold what passed it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, LargeBinary, UniqueConstraint
from sqlmodel import Field, SQLModel


def _account() -> Column[str]:
    """Whose row it is; it goes with the account."""
    return Column(ForeignKey("accounts_account.id", ondelete="CASCADE"), primary_key=True)


class AccountRow(SQLModel, table=True):
    """A user or a service account; `id` is `user:<name>` or `service:<name>`."""

    __tablename__ = "accounts_account"
    id: str = Field(primary_key=True, max_length=64)
    kind: str = Field(max_length=16, index=True)
    name: str = Field(max_length=48)
    display_name: str = Field(default="", max_length=200)
    description: str = Field(default="", max_length=1000)
    email: str = Field(default="", max_length=254)
    enabled: bool = True
    admin: bool = False
    provider: str = Field(default="local", max_length=64)
    owner: str = Field(default="", max_length=64)
    revision: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))


class TeamRow(SQLModel, table=True):
    """A team."""

    __tablename__ = "accounts_team"
    name: str = Field(primary_key=True, max_length=48)
    description: str = Field(default="", max_length=1000)
    revision: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))


class MemberRow(SQLModel, table=True):
    """Who is in which team, as what."""

    __tablename__ = "accounts_member"
    team: str = Field(sa_column=Column(ForeignKey("accounts_team.name", ondelete="CASCADE"), primary_key=True))
    account: str = Field(sa_column=_account())
    role: str = Field(max_length=16)


class TombstoneRow(SQLModel, table=True):
    """The id of a removed account or team, which is never given again: something may still refer to it."""

    __tablename__ = "accounts_tombstone"
    id: str = Field(primary_key=True, max_length=64)


class LinkRow(SQLModel, table=True):
    """Which account somebody is whom a provider knows as `subject`; an account has one link for each provider."""

    __tablename__ = "accounts_link"
    __table_args__ = (UniqueConstraint("provider", "subject"),)
    account: str = Field(sa_column=_account())
    provider: str = Field(primary_key=True, max_length=64)
    subject: str = Field(max_length=512)


class PasswordRow(SQLModel, table=True):
    """The argon2id hash of a local password, with its parameters."""

    __tablename__ = "accounts_password"
    account: str = Field(sa_column=_account())
    hash: str = Field(max_length=256)


class SessionRow(SQLModel, table=True):
    """A session: only the digest of its secret is kept. Times are Unix seconds; `seen_at` lags behind a little."""

    __tablename__ = "accounts_session"
    name: str = Field(primary_key=True, max_length=16)
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    account: str = Field(
        sa_column=Column(ForeignKey("accounts_account.id", ondelete="CASCADE"), nullable=False, index=True)
    )
    created_at: float
    seen_at: float
    expires_at: float = Field(index=True)
    address: str = Field(default="", max_length=64)
    client: str = Field(default="", max_length=200)
