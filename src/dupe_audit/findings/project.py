"""Findings about the Alembic project: what could not be read, and uniqueness that plain operations declare."""

from __future__ import annotations

from dupe_audit.findings.entry import Entry
from dupe_audit.findings.ids import StepId

PROJECT: dict[StepId, Entry] = {
    "revision-unread": Entry(
        "error",
        "Revision {subject}.",
        "If the line is wrong, fix it. If it needs data, put the code that reads it under `if not context.is_offline_mode():` (from alembic import context), "
        "name the keys with --table, or accept the finding in a comment of the revision: # dupe-audit: accept revision-unread",
        acceptable=True,
    ),
    "uniqueness-not-counted": Entry(
        "error",
        "Duplicates were not counted for uniqueness that revision {subject}.",
        "Count them yourself before you upgrade, or accept the finding in a comment of the revision: # dupe-audit: accept uniqueness-not-counted",
        acceptable=True,
    ),
    "restore-mismatch": Entry(
        "error",
        "downgrade() of revision {subject}.",
        "Correct whichever is wrong: upgrade() and downgrade() have to name the same table, columns and constraint, "
        "and downgrade() has to drop the constraint before it restores rows.",
        acceptable=True,
    ),
    "restore-missing": Entry(
        "warning",
        "downgrade() of revision {subject}: the rows that upgrade() archives or changes would stay archived or changed.",
        "Add to downgrade(), after it drops the constraint or index: op.restore_duplicates(…). "
        "If the revision is not meant to be undone: raise NotImplementedError('why').",
        acceptable=True,
    ),
    "import-missing": Entry(
        "error",
        "Revision {subject} uses the directives, but env.py does not import them, so `alembic upgrade` will fail: module 'alembic.op' has no such attribute.",
        "Write this line with the other imports of env.py: import dupe_audit.ops  # noqa: F401",
    ),
    "database-not-stamped": Entry(
        "warning",
        "The database has tables, but no applied revision is recorded in {subject}, so every revision counts as pending.",
        "Check that this is the right database. If the tables were not created by Alembic: alembic stamp, with the revision that they correspond to.",
    ),
    "blocking-operation": Entry(
        "warning",
        "Revision {subject} with a plain operation, which locks {table} against writes while it reads every row.",
        "Use op.create_unique_constraint_online(), or op.create_unique_index_online() for an index, after op.archive_duplicates() if there are duplicates. On a small table you can keep the plain operation.",
    ),
    "upgrade-will-fail": Entry(
        "error",
        "Revision {subject}, so PostgreSQL will refuse its plain operation on {table}.",
        "Use op.archive_duplicates() and op.create_unique_constraint_online(), or op.create_unique_index_online() for an index, instead of the plain operation. Both can be downgraded.",
    ),
    "uniqueness-missing": Entry(
        "error",
        "{table} has no valid unique index on {subject}.",
        "Find out who dropped it. If the drop was intended, drop it in a revision too. Otherwise create it again in a new revision: op.archive_duplicates(), then op.create_unique_constraint_online(), or op.create_unique_index_online() for an index.",
    ),
    "uniqueness-not-followed": Entry(
        "warning",
        "Uniqueness that could not be verified: revision {subject}.",
        "Verify by name each key that the revision declares: dupe-audit verify --table TABLE --name NAME. If every key is in place, or was dropped on purpose, "
        "accept the finding in a comment of the revision: # dupe-audit: accept uniqueness-not-followed",
        acceptable=True,
    ),
}
