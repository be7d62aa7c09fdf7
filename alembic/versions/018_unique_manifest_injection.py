"""One row per (correlation_id, agent_name, created_at): archive the extra injections, then enforce it, online.

It comes after 017, because only then do copies of one injection that referenced different copies of a decision
reference the same decision. After that, redelivered copies differ only in their random ids: "first by id" is
arbitrary but always the same, and no data is lost by keeping one copy.

Copies that still differ are refused (divergent="refuse"). Nothing in an injection is filled in later, so they are
two manifests that an agent was really given, and somebody who knows the data has to decide what happens to one.

Revision: 018
Revises: 017
"""

from alembic import op

revision = "018"
down_revision = "017"
branch_labels = None
depends_on = None

TABLE = "agent_manifest_injections"
KEY = ["correlation_id", "agent_name", "created_at"]
NAME = "unique_manifest_injection_per_correlation_timestamp"


def upgrade():
    op.archive_duplicates(TABLE, KEY, keep="first", order_by=["id"], divergent="refuse")
    op.create_unique_constraint_online(
        NAME,
        TABLE,
        KEY,
        comment="One row per manifest injected into an agent at one time; a redelivered event is a duplicate.",
    )


def downgrade():
    op.drop_unique_constraint_online(NAME, TABLE)
    op.restore_duplicates(TABLE, KEY)
