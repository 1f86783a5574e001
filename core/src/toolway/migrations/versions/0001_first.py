"""The kernel's first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
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
