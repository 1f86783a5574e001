"""What bounds a key: the credentials that it was made with."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Keys that are there already are bounded by none."""
    for name in ("made_with", "present_with", "previous_with"):
        op.add_column("server_keys_key", sa.Column(name, sa.String(128), nullable=False, server_default=""))
        op.create_index(f"ix_server_keys_key_{name}", "server_keys_key", [name])
    op.add_column("server_keys_key", sa.Column("ends_at", sa.Float(), nullable=False, server_default="0"))
