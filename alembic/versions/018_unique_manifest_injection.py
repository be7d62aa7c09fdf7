"""One row per (correlation_id, agent_name, created_at): archive the extra injections, then enforce it, online.

It comes after 017, which lets copies of one injection that referenced different copies of a decision reference the
same one. From then on nothing distinguishes redelivered copies but their random ids: "first by id" is arbitrary, the
same at each run, and keeps what every copy says.

Copies that still differ are refused (divergent="refuse"). Nothing in an injection is filled in later, so they are
two manifests that an agent was really given, and whoever knows the data has to say what becomes of one of them.

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
