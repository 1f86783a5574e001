"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TEXTS = ("node", "credential", "address", "request_id", "outcome", "before", "after", "details", "previous", "hash")
SEARCHED = ("at", "actor", "action", "object")


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "audit_record",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in (*SEARCHED, *TEXTS)),
    )
    for name in SEARCHED:
        op.create_index(f"ix_audit_record_{name}", "audit_record", [name, "seq"])
    op.create_table(
        "audit_mark",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("sealed", sa.String(), nullable=False),
    )
