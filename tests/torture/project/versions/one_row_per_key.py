"""One row per key: the revision that the harness upgrades to and downgrades from, over and over.

Revision: one_row_per_key
Revises:
"""

from alembic import op

from torture.directives import clean

revision = "one_row_per_key"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    clean("tt", ["k"])
    op.create_unique_constraint_online("tt_unique", "tt", ["k"])


def downgrade():
    op.drop_unique_constraint_online("tt_unique", "tt")
    op.restore_duplicates("tt", ["k"])
