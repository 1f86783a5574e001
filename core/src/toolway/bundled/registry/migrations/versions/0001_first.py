"""The registry's first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    for name in ("registry_upstream", "registry_server"):
        op.create_table(
            name,
            sa.Column("name", sa.String(48), primary_key=True),
            sa.Column("settings", sa.Text(), nullable=False),
            sa.Column("revision", sa.BigInteger(), nullable=False),
        )
