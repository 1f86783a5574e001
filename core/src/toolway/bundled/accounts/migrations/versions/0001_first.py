"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "accounts_account",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False, index=True),
        sa.Column("name", sa.String(48), nullable=False),
        sa.Column("display_name", sa.String(200), nullable=False),
        sa.Column("description", sa.String(1000), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "accounts_team",
        sa.Column("name", sa.String(48), primary_key=True),
        sa.Column("description", sa.String(1000), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "accounts_member",
        sa.Column("team", sa.String(48), sa.ForeignKey("accounts_team.name", ondelete="CASCADE"), primary_key=True),
        _account(primary_key=True),
        sa.Column("role", sa.String(16), nullable=False),
    )
    op.create_table("accounts_tombstone", sa.Column("id", sa.String(64), primary_key=True))
    op.create_table(
        "accounts_link",
        _account(primary_key=True),
        sa.Column("provider", sa.String(64), primary_key=True),
        sa.Column("subject", sa.String(512), nullable=False),
        sa.UniqueConstraint("provider", "subject"),
    )
    op.create_table("accounts_password", _account(primary_key=True), sa.Column("hash", sa.String(256), nullable=False))
    op.create_table(
        "accounts_session",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False, unique=True),
        _account(index=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False, index=True),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("client", sa.String(200), nullable=False),
    )


def _account(*, primary_key: bool = False, index: bool = False) -> sa.Column[str]:
    key = sa.ForeignKey("accounts_account.id", ondelete="CASCADE")
    return sa.Column("account", sa.String(64), key, primary_key=primary_key, nullable=False, index=index)
