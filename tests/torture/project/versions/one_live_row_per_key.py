"""One live row per key, whatever the case of its letters: what the harness upgrades to where the key is partial.

Revision: one_live_row_per_key
Revises:
"""

import sqlalchemy as sa
from alembic import op

from torture.directives import clean

revision = "one_live_row_per_key"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    clean("tt", [sa.text("lower(k)")], where="live")
    op.create_unique_index_online("tt_unique", "tt", [sa.text("lower(k)")], where="live")


def downgrade():
    op.drop_unique_index_online("tt_unique", "tt")
    op.restore_duplicates("tt", [sa.text("lower(k)")], where="live")
