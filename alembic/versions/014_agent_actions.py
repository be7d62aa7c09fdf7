"""The table agent_actions as it was before: six indexes, and nothing unique except its random id.

Revision: 014
Revises: nothing
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "014"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "agent_actions",
        sa.Column("id", postgresql.UUID(), primary_key=True, server_default=sa.text("gen_random_uuid()")),
        sa.Column("correlation_id", postgresql.UUID(), nullable=False),
        sa.Column("agent_name", sa.Text(), nullable=False),
        sa.Column("action_type", sa.Text(), nullable=False),
        sa.Column("action_name", sa.Text(), nullable=False),
        sa.Column("action_details", postgresql.JSONB(), server_default=sa.text("'{}'")),
        sa.Column("debug_mode", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("duration_ms", sa.Integer()),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint(
            "action_type IN ('tool_call', 'decision', 'error', 'success')", name="agent_actions_action_type_check"
        ),
    )
    op.create_index("idx_agent_actions_correlation_id", "agent_actions", ["correlation_id"])
    op.create_index("idx_agent_actions_agent_name", "agent_actions", ["agent_name"])
    op.create_index("idx_agent_actions_action_type", "agent_actions", ["action_type"])
    op.create_index("idx_agent_actions_created_at", "agent_actions", [sa.text("created_at DESC")])
    op.create_index(
        "idx_agent_actions_debug_mode", "agent_actions", ["debug_mode"], postgresql_where=sa.text("debug_mode")
    )
    op.create_index("idx_agent_actions_trace", "agent_actions", ["correlation_id", sa.text("created_at DESC")])


def downgrade():
    op.drop_table("agent_actions")
