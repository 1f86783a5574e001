"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "tokens_token",
        sa.Column("jti", sa.String(32), primary_key=True),
        sa.Column("kid", sa.String(128), nullable=False, index=True),
        sa.Column("description", sa.String(200), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False, index=True),
        sa.Column("maker", sa.String(64), nullable=False),
        sa.Column("parent", sa.String(32), nullable=False, index=True),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("scopes", "servers", "items", "networks")),
        sa.Column("single_use", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False, index=True),
        sa.Column("revoked_at", sa.Float(), nullable=True),
        sa.Column("used_at", sa.Float(), nullable=True),
        sa.Column("waits_for", sa.String(64), nullable=True),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("last_used_at", sa.Float(), nullable=True),
        sa.Column("last_address", sa.String(64), nullable=False),
        sa.Column("last_client", sa.String(200), nullable=False),
    )
    op.create_table(
        "tokens_key",
        sa.Column("kid", sa.String(128), primary_key=True),
        sa.Column("public", sa.String(), nullable=False),
        sa.Column("sealed", sa.String(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("verifies_until", sa.Float(), nullable=True),
    )
    op.create_table(
        "tokens_policy",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("default_ttl", sa.Integer(), nullable=True),
        sa.Column("max_ttl", sa.Integer(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
    )
