"""Findings about the table and the key: whether the constraint is possible at all."""

from __future__ import annotations

from dupe_audit.findings.entry import Entry
from dupe_audit.findings.ids import StepId

TABLE: dict[StepId, Entry] = {
    "table-missing": Entry(
        "error",
        "There is no table for key {subject} in this database.",
        "Check schema and table (exact names, without quotes, schema and table given separately) and which database you are connected to. "
        "A table without a schema is looked up on the search path.",
    ),
    "column-missing": Entry(
        "error",
        "{table} has no column {subject!r}.",
        "Check the column names; they are case-sensitive and written without quotes.",
    ),
    "not-a-table": Entry(
        "error",
        "{table} is not an ordinary table (kind: {subject}) and cannot have a unique constraint.",
        "Name the table that holds the rows.",
    ),
    "single-partition": Entry(
        "warning",
        "{table} is one partition of {subject}; the constraint will cover only this partition.",
        "If all of {subject} is meant, name it instead: the directives then work on each of its partitions. That needs the partition columns in the key.",
    ),
    "inheritance": Entry(
        "error",
        "Other tables inherit from {table} ({subject}); a constraint would not cover their rows.",
        "Detach each of them (ALTER TABLE child NO INHERIT {table}), or constrain each table separately.",
    ),
    "system-table": Entry(
        "error", "{table} is in schema {subject}, whose tables must not be changed.", "Name one of your own tables."
    ),
    "temporary-table": Entry(
        "error",
        "{table} is a temporary table; only the session that created it can see it.",
        "Execute a plain ALTER TABLE {table} ADD UNIQUE (…) in that session: no other session can be blocked by it.",
    ),
    "unlogged-table": Entry(
        "warning",
        "{table} is unlogged: a server crash empties it, but not its archive.",
        "If its rows matter: ALTER TABLE {table} SET LOGGED; (rewrites the table under an ACCESS EXCLUSIVE lock)",
    ),
    "extension-table": Entry(
        "error",
        "{table} belongs to extension {subject}.",
        "Change it with the extension's own commands; it may be only a part of what the extension manages.",
    ),
    "citus-table": Entry(
        "error",
        "Citus manages {table}, as {subject}.",
        "See docs/howto/citus.md: what works on each kind of table, and what to do otherwise.",
    ),
    "timescaledb-table": Entry(
        "error",
        "{table} is a {subject} of TimescaleDB: its rows are in many tables, and its index cannot be built concurrently.",
        "Remove the duplicates with your own SQL, one time range after another, then CREATE UNIQUE INDEX in a quiet moment, because it blocks writers until it is built. "
        "The key must include every partitioning column. "
        "Step by step: docs/reference/findings/timescaledb-table.md.",
    ),
    "too-many-columns": Entry(
        "error",
        "{table} has too many columns: its cleanup would need {subject}.",
        "Remove columns from {table}, or move some of them to another table.",
    ),
    "expression-invalid": Entry(
        "error",
        "The server cannot read an expression for {table}: {subject}.",
        "Correct the expression. It may use the columns of the row and functions that the search path finds. "
        "In set_, SQL needs sa.text(…), and may also use survivor.column and duplicate.number. "
        "In merge, the method must exist for the column's type, and SQL must be an aggregate.",
    ),
    "expression-fails": Entry(
        "error",
        "An expression cannot be computed for some rows of {table}: {subject}.",
        "Look at some of them (dupe-audit preflight … --show-keys), then correct the rows, or leave them out of the key with where. "
        "See docs/reference/findings/expression-fails.md.",
    ),
    "not-immutable": Entry(
        "error",
        "{subject} cannot be in an index of {table}: it is not immutable, or contains a subquery.",
        "Name what its result depends on, for example the time zone: (created_at AT TIME ZONE 'UTC')::date.",
    ),
    "depends-on-search-path": Entry(
        "error",
        "An expression fails under the search path that PostgreSQL uses to build an index of {table} (pg_catalog, pg_temp): {subject}.",
        "In the body of its function, schema-qualify everything that it calls, or give the function its own path: "
        "ALTER FUNCTION … SET search_path = …. See docs/reference/findings/depends-on-search-path.md.",
    ),
    "index-refused": Entry(
        "error",
        "PostgreSQL cannot build the index of {table}: {subject}.",
        "Correct that part of the key. It was tried on a temporary copy of the table; no row was moved. "
        "See docs/reference/findings/index-refused.md.",
    ),
    "index-not-tried": Entry(
        "warning",
        "The index of {table} could not be tried on a temporary copy of the table: {subject}.",
        "If its build fails after the cleanup, the archived rows stay archived until the cause is removed or the run is restored. "
        "See docs/reference/findings/index-not-tried.md.",
    ),
    "volatile-order": Entry(
        "error",
        "order_by contains {subject}, whose value changes from one evaluation to the next.",
        "Order by what is stored in the table or in other tables.",
    ),
    "constant-expression": Entry(
        "error",
        "{subject} uses no column of {table}, so it has the same value in every row.",
        "Name a column. Text in single quotes is a value, not a column. In a subquery, a column name alone is looked up in "
        "the subquery's own tables first, so write the columns of {table} as table.column.",
    ),
    "predicate-never-true": Entry(
        "error",
        "The predicate {subject} is never true for a row of {table}, so the key would cover no rows.",
        "Correct the predicate (where). A comparison with NULL is never true: write column IS NULL.",
    ),
    "no-equality": Entry(
        "error",
        "The type of column {subject} has no default btree operator class, so no unique index can compare its values.",
        "Use the part that identifies the row as an expression, with op.create_unique_index_online(), such as sa.text(\"payload ->> 'id'\"). "
        "Or add a plain column, let the application fill it, and backfill it in batches.",
    ),
    "virtual-column": Entry(
        "error",
        "Column {subject} is a virtual generated column; PostgreSQL cannot index it.",
        "Use its expression, with op.create_unique_index_online(), or a plain column that the application writes. "
        "Adding a stored generated column rewrites the table under an ACCESS EXCLUSIVE lock.",
    ),
    "reserved-column": Entry(
        "error",
        "The name of column {subject} starts with dupe_audit_, which is reserved for the archive's own columns.",
        "ALTER TABLE {table} RENAME COLUMN {subject} TO …;",
    ),
    "key-too-wide": Entry(
        "error",
        "The widest key takes {subject} bytes; a btree entry holds at most 2,704, so the build would fail after the cleanup.",
        "Shorten the values, or make their hash the key: sa.text('md5(column)') with op.create_unique_index_online(). "
        "The index may compress long text: if you know that your values then fit, accept this finding.",
        acceptable=True,
    ),
    "nulls-not-distinct": Entry(
        "error",
        "NULLS NOT DISTINCT needs PostgreSQL 15 or later; this server is {subject}.",
        "Remove nulls_not_distinct, or make the columns NOT NULL.",
    ),
    "name-taken": Entry(
        "error",
        "The name of the constraint is already taken: {subject}.",
        "Choose another name. The constraint's index has the same name, which must be unique in the schema.",
    ),
    "no-primary-key": Entry(
        "info",
        "{table} has no primary key; rows are identified by (ctid, xmin), under lock.",
        "No action needed. A primary key would make batches cheaper and archived rows easier to find.",
    ),
}
