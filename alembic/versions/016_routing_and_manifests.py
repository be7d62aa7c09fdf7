"""The tables of routing decisions and manifest injections as they were before: only the random ids are unique.

An injection can reference the decision that led to it. Nothing prevents a second copy of a decision, nor two copies
of one injection that reference different copies of their decision.

Revision: 016
Revises: 015
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "016"
down_revision = "015"
branch_labels = None
depends_on = None

DECISIONS = "agent_routing_decisions"
INJECTIONS = "agent_manifest_injections"


def upgrade():
    create_decisions()
    create_injections()


def create_decisions():
    op.create_table(
        DECISIONS,
        sa.Column("id", postgresql.UUID(), primary_key=True, server_default=sa.text("gen_random_uuid()")),
        sa.Column("correlation_id", postgresql.UUID(), nullable=False),
        sa.Column("session_id", postgresql.UUID()),
        sa.Column("user_request", sa.Text(), nullable=False),
        sa.Column("selected_agent", sa.String(255), nullable=False),
        sa.Column("confidence_score", sa.Numeric(5, 4), nullable=False),
        sa.Column("routing_strategy", sa.String(100), nullable=False),
        sa.Column("alternatives", postgresql.JSONB()),
        sa.Column("reasoning", sa.Text()),
        sa.Column("matched_triggers", postgresql.ARRAY(sa.Text())),
        sa.Column("routing_time_ms", sa.Integer(), nullable=False),
        sa.Column("cache_hit", sa.Boolean()),
        sa.Column("actual_success", sa.Boolean()),
        sa.Column("actual_quality_score", sa.Numeric(5, 4)),
        sa.Column("context_snapshot", postgresql.JSONB()),
        sa.Column("metadata", postgresql.JSONB()),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint("confidence_score BETWEEN 0 AND 1", name=f"{DECISIONS}_confidence_score_check"),
        sa.CheckConstraint("routing_time_ms BETWEEN 0 AND 9999", name=f"{DECISIONS}_routing_time_ms_check"),
    )
    op.create_index("idx_agent_routing_decisions_correlation_id", DECISIONS, ["correlation_id"])
    op.create_index("idx_agent_routing_decisions_selected_agent", DECISIONS, ["selected_agent"])
    op.create_index("idx_agent_routing_decisions_created_at", DECISIONS, [sa.text("created_at DESC")])


def create_injections():
    op.create_table(
        INJECTIONS,
        sa.Column("id", postgresql.UUID(), primary_key=True, server_default=sa.text("gen_random_uuid()")),
        sa.Column("correlation_id", postgresql.UUID(), nullable=False),
        sa.Column("routing_decision_id", postgresql.UUID()),
        sa.Column("agent_name", sa.String(255), nullable=False),
        sa.Column("manifest_version", sa.String(50), nullable=False),
        sa.Column("generation_source", sa.String(100), nullable=False),
        sa.Column("sections_included", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("patterns_count", sa.Integer()),
        sa.Column("query_times", postgresql.JSONB(), nullable=False),
        sa.Column("total_query_time_ms", sa.Integer(), nullable=False),
        sa.Column("full_manifest_snapshot", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.ForeignKeyConstraint(
            ["routing_decision_id"], [f"{DECISIONS}.id"], name=f"{INJECTIONS}_routing_decision_id_fkey"
        ),
    )
    op.create_index("idx_agent_manifest_injections_correlation_id", INJECTIONS, ["correlation_id"])
    op.create_index("idx_agent_manifest_injections_agent_name", INJECTIONS, ["agent_name"])
    op.create_index("idx_agent_manifest_injections_created_at", INJECTIONS, [sa.text("created_at DESC")])
    # Without this index, every batch that archives decisions would scan this table for their injections.
    op.create_index("idx_agent_manifest_injections_routing_decision_id", INJECTIONS, ["routing_decision_id"])


def downgrade():
    op.drop_table(INJECTIONS)
    op.drop_table(DECISIONS)
