"""One row per (correlation_id, action_name, created_at): archive the extras, then enforce it, online.

Every redelivery of an event became a separate row with a new random id, so ids do not show which row is older:
"first by id" is an arbitrary row of its group, though always the same one. There is no better rule, because all
rows of a group have the same created_at. Extras are archived even if they carry other data (divergent="archive"),
and downgrade restores every row byte for byte.

Revision: 015
Revises: 014
"""

from alembic import op

revision = "015"
down_revision = "014"
branch_labels = None
depends_on = None

KEY = ["correlation_id", "action_name", "created_at"]
NAME = "unique_action_per_correlation_timestamp"


def upgrade():
    op.archive_duplicates("agent_actions", KEY, keep="first", order_by=["id"], divergent="archive")
    op.create_unique_constraint_online(
        NAME,
        "agent_actions",
        KEY,
        comment="One row per action of a correlation at one time; a redelivered event is a duplicate.",
    )


def downgrade():
    op.drop_unique_constraint_online(NAME, "agent_actions")
    op.restore_duplicates("agent_actions", KEY)
