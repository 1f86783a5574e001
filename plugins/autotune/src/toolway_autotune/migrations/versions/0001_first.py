"""The first table."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make it."""
    op.create_table(
        "autotune_choice",
        sa.Column("upstream", sa.String(48), primary_key=True),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("pins", sa.String(), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
    )
