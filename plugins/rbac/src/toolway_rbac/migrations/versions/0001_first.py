"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "rbac_role",
        sa.Column("name", sa.String(48), primary_key=True),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "rbac_binding",
        sa.Column("name", sa.String(48), primary_key=True),
        sa.Column("role", sa.String(48), nullable=False, index=True),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
    )
