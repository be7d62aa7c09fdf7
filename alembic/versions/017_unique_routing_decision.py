"""One row per (correlation_id, selected_agent, created_at): archive the extra decisions, then enforce it, online.

Injections that reference an extra are pointed at its survivor in the same transaction that archives the extra
(references="repoint"); downgrade points each back at its own decision.

actual_success and actual_quality_score are filled in later, in whichever copy the update happened to find. Copies of
one decision therefore differ there without being different decisions, so the comparison ignores both columns.

Ids are random and all rows of a group have the same created_at, so nothing shows which copy is the oldest. But the
outcome shows which copy is more complete: NULLs sort last, so a copy with an outcome stays and one without leaves.
If two copies contradict each other, the worse outcome stays (false sorts before true, a low score before a high
one), because people investigate a figure that is too low, but not one that is too high. The other outcome is in the
archive. So is an outcome written to an extra after the copies were ranked.

Copies that differ in anything else are refused (divergent="refuse", the default). A redelivered event carries
the same data, so such rows are two decisions, and the key is too narrow for them; somebody who knows the data has to
look before one of them leaves the table.

Revision: 017
Revises: 016
"""

from alembic import op

revision = "017"
down_revision = "016"
branch_labels = None
depends_on = None

TABLE = "agent_routing_decisions"
KEY = ["correlation_id", "selected_agent", "created_at"]
NAME = "unique_routing_decision_per_correlation_timestamp"
OUTCOME = ["actual_success", "actual_quality_score"]


def upgrade():
    op.archive_duplicates(
        TABLE, KEY, keep="first", order_by=[*OUTCOME, "id"], divergent="refuse", references="repoint", ignore=OUTCOME
    )
    op.create_unique_constraint_online(
        NAME,
        TABLE,
        KEY,
        comment="One row per agent that a correlation was routed to at one time; a redelivered event is a duplicate.",
    )


def downgrade():
    op.drop_unique_constraint_online(NAME, TABLE)
    op.restore_duplicates(TABLE, KEY)
