"""The first table."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make it."""
    op.create_table(
        "prompts_collection",
        sa.Column("name", sa.String(48), primary_key=True),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
    )
