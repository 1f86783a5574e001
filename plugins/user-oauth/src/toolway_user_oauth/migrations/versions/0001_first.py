"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "user_oauth_connection",
        sa.Column("principal", sa.String(255), primary_key=True),
        sa.Column("upstream", sa.String(48), primary_key=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("issuer", "scopes", "sealed")),
        *(sa.Column(name, sa.Float(), nullable=False) for name in ("connected_at", "refreshed_at", "expires_at")),
        sa.Column("revision", sa.Integer(), nullable=False),
    )
    op.create_table(
        "user_oauth_issuer",
        sa.Column("upstream", sa.String(48), primary_key=True),
        sa.Column("declared", sa.String(64), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
    )
