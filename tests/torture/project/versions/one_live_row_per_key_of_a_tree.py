"""One live row per key of a tree, where an expression is no partition column: what the harness upgrades to there.

Revision: one_live_row_per_key_of_a_tree
Revises:
"""

from alembic import op

from torture.directives import clean

revision = "one_live_row_per_key_of_a_tree"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    clean("tt", ["k"], where="live")
    op.create_unique_index_online("tt_unique", "tt", ["k"], where="live")


def downgrade():
    op.drop_unique_index_online("tt_unique", "tt")
    op.restore_duplicates("tt", ["k"], where="live")
