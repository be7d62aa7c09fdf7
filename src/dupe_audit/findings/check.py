"""What the CI migration check can find. Each belongs to one rule, a file in ``checks/rules``."""

from dupe_audit.findings.entry import Entry

CHECK: dict[str, Entry] = {
    # one-head
    "several-heads": Entry(
        "error",
        "The history has several heads: {subject}.",
        "Join them: alembic merge -m 'merge heads' heads",
    ),
    # way-back
    "no-way-back": Entry(
        "error",
        "Revision {subject} cannot be undone: its downgrade() does nothing.",
        "Write the way back. Where there is none, say so on its face: raise NotImplementedError('why') in downgrade().",
        acceptable=True,
    ),
    "irreversible": Entry(
        "info",
        "Revision {subject} says that it has no way back.",
        "Nothing to do. Before production, know what you will do instead of a downgrade.",
    ),
    "downgrade-fails": Entry(
        "error",
        "The downgrade of a revision fails: {subject}.",
        "Mend downgrade(), or raise NotImplementedError('why') in it.",
        acceptable=True,
    ),
    "downgrade-differs": Entry(
        "warning",
        "After the downgrade the schema is not what it was: {subject}.",
        "Undo in downgrade() all that upgrade() does, in reverse order.",
        acceptable=True,
    ),
    # round-trip
    "upgrade-fails": Entry(
        "error",
        "The upgrade of a revision fails on empty tables: {subject}.",
        "Mend upgrade(), or make what it needs in an earlier revision. Nothing after it was checked.",
    ),
    "unique-over-duplicates": Entry(
        "error",
        "{table} would stop this revision: {subject}.",
        "An empty database hides this; production does not. Archive the duplicates and build the index online, with their ways back.",
        acceptable=True,
    ),
    "upgrade-fails-on-rows": Entry(
        "error",
        "The upgrade works on an empty {table} and fails on one with rows: {subject}.",
        "Mend upgrade(). If the generated rows are none that your application could write, give your own with --seed-sql.",
        acceptable=True,
    ),
    "rows-lost": Entry(
        "error",
        "After upgrade and downgrade, {table} is not what it was: {subject}.",
        "Archive what you delete, and bring it back in downgrade(): op.archive_duplicates() and op.restore_duplicates() do both.",
        acceptable=True,
    ),
    "rows-gained": Entry(
        "info",
        "After upgrade and downgrade, {table} has rows that it did not have: {subject}.",
        "Nothing to do where a trigger writes down what happens to another table. If upgrade() inserts these rows, delete them in downgrade().",
    ),
    "uniqueness-not-proven": Entry(
        "error",
        "The revision ends well, but {table} is not unique as it says: {subject}.",
        "Build the index again, and look at its state in pg_index before you rely on it.",
        acceptable=True,
    ),
    "downgrade-fails-on-rows": Entry(
        "error",
        "The downgrade works on an empty {table} and fails on one with rows: {subject}.",
        "Mend downgrade(). If the generated rows are none that your application could write, give your own with --seed-sql.",
        acceptable=True,
    ),
    "second-upgrade-fails": Entry(
        "error",
        "Upgraded, downgraded and upgraded again, the revision fails: {subject}.",
        "Undo in downgrade() all that upgrade() does: objects, types, and what it stored elsewhere.",
        acceptable=True,
    ),
    "refused-as-told": Entry(
        "info",
        "The revision refused some of the duplicates, as it is told to, and changed nothing: {subject}.",
        "Nothing to do, if you want a person to decide about them. The check went on without them.",
    ),
    "not-seeded": Entry(
        "warning",
        "{table} could not be filled with rows, so the revision was tried on an empty table: {subject}.",
        "Give rows of your own: dupe-audit check --seed-sql DIRECTORY, with a file called after the revision.",
        acceptable=True,
    ),
    # locks
    "lock-during-work": Entry(
        "warning",
        "{table} is locked for as long as the work takes: {subject}.",
        "Build with CONCURRENTLY in an autocommit_block(), or with op.create_unique_constraint_online(); add a check or foreign key NOT VALID and VALIDATE it in a later revision; change rows in batches, in a revision of their own.",
        acceptable=True,
    ),
    # invalid-index
    "invalid-index-left": Entry(
        "error",
        "The revision leaves index {subject} on {table} invalid: no query uses it, and it can reject writes all the same.",
        "Drop what a failed concurrent build leaves behind, and fail: op.create_unique_constraint_online() does both.",
        acceptable=True,
    ),
    # models
    "unique-missing-in-models": Entry(
        "warning",
        "{table} is unique in the database, and not in the models: {subject}.",
        "Declare it in the model, or drop it in a revision: the next autogenerated revision would.",
        acceptable=True,
    ),
    "unique-missing-in-database": Entry(
        "error",
        "The models say that {table} is unique, and the migrated database does not: {subject}.",
        "Add it in a revision: op.archive_duplicates(), then op.create_unique_constraint_online(). Or take it out of the model.",
        acceptable=True,
    ),
    "unique-differs": Entry(
        "warning",
        "The uniqueness of {table} is not the same in the database and in the models: {subject}.",
        "Make them one, in the model or in a revision. What differs here, alembic check may not see.",
        acceptable=True,
    ),
    # pending
    "revision-pending": Entry(
        "warning",
        "Revision {subject} is not applied to the database that --against names.",
        "Deploy it with: alembic upgrade head",
        acceptable=True,
    ),
    "duplicates-in-wait": Entry(
        "error",
        "A pending revision will make {table} unique, and there are {subject} in the database that --against names.",
        "See what they are before you deploy: dupe-audit preflight, with that table and columns.",
        acceptable=True,
    ),
    # writers
    "no-arbiter": Entry(
        "error",
        "No unique index of {table} can be the arbiter of this INSERT, so PostgreSQL refuses it: {subject}.",
        "Name all columns of one unique index and no others, with its WHERE if it is partial; or add such an index in a revision.",
        acceptable=True,
    ),
    "arbiter-unfit": Entry(
        "error",
        "The unique index of {table} that this INSERT means cannot be its arbiter, so PostgreSQL refuses it: {subject}.",
        "An arbiter has to be valid and not deferrable: build the index again, or make the constraint without DEFERRABLE.",
        acceptable=True,
    ),
    "insert-may-raise": Entry(
        "warning",
        "This INSERT into {table} raises 23505 where its key is there, once the uniqueness is: {subject}.",
        "Write INSERT … ON CONFLICT with those columns, or catch the error; then accept the finding in a comment at the INSERT.",
        acceptable=True,
    ),
    "sql-unreadable": Entry(
        "info",
        "INSERT statements in this file that could not be read, and so were not checked: {subject}.",
        "Nothing to do, if they are no SQL or are put together while the program runs. Read them by hand.",
    ),
    # squawk
    "squawk": Entry(
        "warning",
        "squawk says of revision {subject}.",
        "Or leave the rule out: excluded_rules in .squawk.toml.",
        acceptable=True,
    ),
}
