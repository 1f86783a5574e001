"""The first table."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make it."""
    op.create_table(
        "server_keys_key",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("description", sa.String(200), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False, index=True),
        sa.Column("maker", sa.String(64), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("servers", "items", "scopes", "networks")),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False, index=True),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("previous_until", sa.Float(), nullable=False),
        sa.Column("lifetime", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("rotated_at", sa.Float(), nullable=True),
        sa.Column("revoked_at", sa.Float(), nullable=True),
        sa.Column("last_used_at", sa.Float(), nullable=True),
        sa.Column("last_address", sa.String(64), nullable=False),
        sa.Column("last_client", sa.String(200), nullable=False),
    )
