"""The first directive of the harness's revisions, by the policy of the world."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import context, op

from torture.policies import AMEND, ARCHIVE, COUNTERS, MERGE, MERGED, MIXED, new_values


def clean(table: str, columns: Sequence[str | sa.TextClause], *, where: str | None = None) -> None:
    """Clean the table, as ``context.config.attributes`` says."""
    policy = context.config.attributes["policy"]
    set_ = {column: sa.text(sql) for column, sql in new_values(partial=where is not None).items()}
    if policy == ARCHIVE:
        op.archive_duplicates(table, columns, where=where, divergent="archive", references="repoint")
    elif policy == MERGE:
        op.archive_duplicates(table, columns, where=where, divergent="archive", references="repoint", merge=MERGED)
    elif policy == MIXED:
        op.archive_duplicates(
            table, columns, where=where, divergent="amend", set_=set_, ignore=COUNTERS, references="repoint"
        )
    elif policy == AMEND:
        op.amend_duplicates(table, columns, set_, where=where)
