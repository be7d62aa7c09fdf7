"""Findings of the CI migration check. Each belongs to one rule, a file in ``checks/rules``."""

from __future__ import annotations

from dupe_audit.findings.entry import Entry
from dupe_audit.findings.ids import CheckId

CHECK: dict[CheckId, Entry] = {
    # one-head
    "several-heads": Entry(
        "error",
        "The history has more than one head: {subject}.",
        "Merge them: alembic merge -m 'merge heads' heads",
    ),
    # way-back
    "no-way-back": Entry(
        "error",
        "Revision {subject} cannot be undone: its downgrade() does nothing.",
        "Write downgrade(). If the revision cannot be undone, say so explicitly: raise NotImplementedError('why') in downgrade().",
        acceptable=True,
    ),
    "irreversible": Entry(
        "info",
        "Revision {subject} declares that it cannot be undone.",
        "No action needed. Before you deploy it, decide what you will do instead of a downgrade.",
    ),
    "downgrade-fails": Entry(
        "error",
        "The revision's downgrade fails: {subject}.",
        "Fix downgrade(), or raise NotImplementedError('why') in it.",
        acceptable=True,
    ),
    "downgrade-differs": Entry(
        "warning",
        "The downgrade does not restore the schema: {subject}.",
        "In downgrade(), undo everything that upgrade() does, in reverse order.",
        acceptable=True,
    ),
    # round-trip
    "upgrade-fails": Entry(
        "error",
        "The revision's upgrade fails on empty tables: {subject}.",
        "Fix upgrade(), or create what it needs in an earlier revision. No later revision was checked.",
    ),
    "unique-over-duplicates": Entry(
        "error",
        "Duplicates in {table} stop this revision: {subject}.",
        "An empty database hides this; production does not. Archive the duplicates and build the index online, and undo both in downgrade().",
        acceptable=True,
    ),
    "upgrade-fails-on-rows": Entry(
        "error",
        "The upgrade succeeds while {table} is empty, but fails once it has rows: {subject}.",
        "Fix upgrade(). If your application could never write such rows, provide your own with --seed-sql.",
        acceptable=True,
    ),
    "rows-lost": Entry(
        "error",
        "After upgrade and downgrade, {table} does not have the same rows: {subject}.",
        "Archive the rows that you delete, and restore them in downgrade(): op.archive_duplicates() and op.restore_duplicates() do both.",
        acceptable=True,
    ),
    "rows-gained": Entry(
        "info",
        "After upgrade and downgrade, {table} has additional rows: {subject}.",
        "No action needed if a trigger logs the changes of another table. If upgrade() inserts these rows, delete them in downgrade().",
    ),
    "uniqueness-not-proven": Entry(
        "error",
        "The revision succeeds, but does not make {table} unique as it should: {subject}.",
        "Do not catch the error of a build. op.create_unique_constraint_online() and op.create_unique_index_online() drop what a failed build leaves, try again and verify the result.",
        acceptable=True,
    ),
    "uniqueness-not-tried": Entry(
        "warning",
        "The revision makes {table} unique, but was tried without a single duplicate of the new key: {subject}.",
        "No row could be generated that the existing constraints allow and the new key does not. Provide such rows with --seed-sql; or, if they cannot exist, accept this finding.",
        acceptable=True,
    ),
    "downgrade-fails-on-rows": Entry(
        "error",
        "The downgrade succeeds while {table} is empty, but fails once it has rows: {subject}.",
        "Fix downgrade(). If your application could never write such rows, provide your own with --seed-sql.",
        acceptable=True,
    ),
    "second-upgrade-fails": Entry(
        "error",
        "The revision fails when it is applied again after its downgrade: {subject}.",
        "In downgrade(), undo everything that upgrade() does: objects, types, and what it stored elsewhere.",
        acceptable=True,
    ),
    "refused-as-configured": Entry(
        "info",
        "The revision refused some of the duplicates, as it is meant to, and changed nothing: {subject}.",
        "No action needed if a person is to decide about them. The check continued without them.",
    ),
    "not-seeded": Entry(
        "warning",
        "{table} could not be filled with rows, so the revision was tried on an empty table: {subject}.",
        "Provide your own rows: dupe-audit check --seed-sql DIRECTORY, with a file named after the revision.",
        acceptable=True,
    ),
    # locks
    "lock-during-work": Entry(
        "warning",
        "{table} is locked for as long as the work takes: {subject}.",
        "Build with CONCURRENTLY in an autocommit_block(), or a unique one with op.create_unique_constraint_online() or op.create_unique_index_online(); add a check or foreign key NOT VALID and VALIDATE it in a later revision; change rows in batches, in a separate revision.",
        acceptable=True,
    ),
    # invalid-index
    "invalid-index-left": Entry(
        "error",
        "The revision leaves index {subject} on {table} invalid: no query uses it, but it can still reject writes.",
        "If the concurrent build fails, drop what it left and raise: op.create_unique_constraint_online() and op.create_unique_index_online() do both.",
        acceptable=True,
    ),
    # models
    "unique-missing-in-models": Entry(
        "warning",
        "{table} is unique in the database but not in the models: {subject}.",
        "Declare it in the model, or drop it in a revision; otherwise the next autogenerated revision drops it.",
        acceptable=True,
    ),
    "unique-missing-in-database": Entry(
        "error",
        "{table} is unique in the models but not in the migrated database: {subject}.",
        "Add it in a revision: op.archive_duplicates(), then op.create_unique_constraint_online(), or, for an index, op.create_unique_index_online(). Or remove it from the model.",
        acceptable=True,
    ),
    "unique-differs": Entry(
        "warning",
        "The uniqueness of {table} differs between the database and the models: {subject}.",
        "Make them agree, in the model or in a revision. alembic check may not report this difference.",
        acceptable=True,
    ),
    # pending
    "revision-pending": Entry(
        "warning",
        "Revision {subject} is not applied to the database that --against names.",
        "Deploy it: alembic upgrade head",
        acceptable=True,
    ),
    "duplicates-in-wait": Entry(
        "error",
        "A pending revision will make {table} unique, but the database that --against names holds {subject}.",
        "Look at them before you deploy: dupe-audit preflight, with that table and those columns.",
        acceptable=True,
    ),
    # writers
    "no-arbiter": Entry(
        "error",
        "No unique index of {table} can be the arbiter of this INSERT, so PostgreSQL rejects it: {subject}.",
        "Name all columns of one unique index and no others, with its WHERE if it is partial; or add such an index in a revision.",
        acceptable=True,
    ),
    "arbiter-unfit": Entry(
        "error",
        "The unique index of {table} that this INSERT refers to cannot be its arbiter, so PostgreSQL rejects it: {subject}.",
        "An arbiter must be valid and not deferrable: build the index again, or create the constraint without DEFERRABLE.",
        acceptable=True,
    ),
    "insert-may-raise": Entry(
        "warning",
        "This INSERT into {table} will raise 23505 when its key exists, because of {subject}.",
        "Write INSERT … ON CONFLICT with those columns; or catch the error and accept this finding in a comment at the INSERT.",
        acceptable=True,
    ),
    "sql-unreadable": Entry(
        "info",
        "INSERT statements in this file that could not be read and were not checked: {subject}.",
        "Review them by hand. No action needed if they are not SQL, or are assembled at run time.",
    ),
    # squawk
    "squawk": Entry(
        "warning",
        "squawk objects to revision {subject}.",
        "If you disagree with the rule, exclude it: excluded_rules in .squawk.toml.",
        acceptable=True,
    ),
}
