"""The kernel's first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    for name in ("upstream", "server"):
        op.create_table(
            name,
            sa.Column("name", sa.String(48), primary_key=True),
            sa.Column("settings", sa.Text(), nullable=False),
            sa.Column("revision", sa.BigInteger(), nullable=False),
        )
    op.create_table(
        "discovery",
        sa.Column("upstream", sa.String(48), primary_key=True),
        sa.Column("document", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "revision",
        sa.Column("part", sa.String(64), primary_key=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "ring_key",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "keyvalue",
        sa.Column("key", sa.String(512), primary_key=True),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=True, index=True),
    )
    op.create_table(
        "lease",
        sa.Column("key", sa.String(512), primary_key=True),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
    )
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "message",
        sa.Column("id", number, primary_key=True, autoincrement=True),
        sa.Column("channel", sa.String(256), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False, index=True),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "admin_token",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
    )
