"""One row per (correlation_id, selected_agent, created_at): archive the extra decisions, then enforce it, online.

Injections that reference an extra follow its survivor, in the transaction in which the extra leaves
(references="repoint"); downgrade points each back at its own decision.

actual_success and actual_quality_score are filled in later, in whichever copy was found. So copies of one decision
differ there, and that alone does not make them different decisions: the comparison ignores both.

Ids are random and created_at is the same in all rows of a group, so nothing says which copy is the oldest. What can
be told is which copy knows more: NULLs come last, so a copy whose outcome was filled in stays and one without leaves.
Where two copies contradict each other the worse outcome stays (false comes before true, a low score before a high
one), because a figure that is too low is looked into and one that is too high is not. The other is in the archive,
and so is an outcome that comes to an extra after the copies were ranked.

Copies that differ in anything else are refused (divergent="refuse", the default). A redelivered event carries
the same data, so such rows are two decisions and the key is too small for them; whoever knows the data has to look
before one of them leaves the table.

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
