"""What preflight, the upgrade, verify and restore can find."""

from dupe_audit.findings.entry import Entry

STEPS: dict[str, Entry] = {
    # The table and the key
    "table-missing": Entry(
        "error",
        "There is no table {subject} here.",
        "Check --schema and --table (exact names, unquoted) and the database you are connected to.",
    ),
    "column-missing": Entry(
        "error", "{table} has no column {subject!r}.", "Check the column names: they are case-sensitive and unquoted."
    ),
    "not-a-table": Entry(
        "error",
        "{table} is a {subject}; a unique constraint needs an ordinary table.",
        "Name the table that holds the rows.",
    ),
    "partitioned-table": Entry(
        "error",
        "{table} is partitioned; PostgreSQL builds no index concurrently on a partitioned parent.",
        "For each partition: CREATE UNIQUE INDEX CONCURRENTLY i ON partition (…); ALTER TABLE partition ADD CONSTRAINT c UNIQUE USING INDEX i; "
        "then ALTER TABLE {table} ADD CONSTRAINT … UNIQUE (…), which adopts them. The key must hold the partition key.",
    ),
    "single-partition": Entry(
        "warning",
        "{table} is one partition of {subject}; the constraint will hold within it alone.",
        "Treat every partition, or make the key unique across them by including the partition key.",
    ),
    "inheritance": Entry(
        "error",
        "Other tables inherit from {table} ({subject}); a constraint would not cover their rows.",
        "Take the children out of the inheritance (ALTER TABLE child NO INHERIT {table}), or treat each table on its own.",
    ),
    "system-table": Entry(
        "error", "{table} belongs to schema {subject}, which is not yours to change.", "Name one of your own tables."
    ),
    "temporary-table": Entry(
        "error",
        "{table} is a temporary table; only this session sees it.",
        "Use a plain ALTER TABLE {table} ADD UNIQUE (…): there is nobody to wait for.",
    ),
    "unlogged-table": Entry(
        "warning",
        "{table} is unlogged: a crash of the server empties it, but not its archive.",
        "ALTER TABLE {table} SET LOGGED, if its rows matter.",
    ),
    "extension-table": Entry(
        "error",
        "{table} belongs to extension {subject}.",
        "Use the extension's own way to change it; a table that it manages may not be what it seems.",
    ),
    "no-equality": Entry(
        "error",
        "Column {subject} has a type without btree equality, so no unique index can compare it.",
        "Choose another column, or make one of a comparable type (for json: a jsonb or generated text column).",
    ),
    "virtual-column": Entry(
        "error",
        "Column {subject} is a virtual generated column; PostgreSQL cannot index it.",
        "Make it a stored generated column.",
    ),
    "reserved-column": Entry(
        "error",
        "Column {subject} starts with dupe_audit_, as the archive's own columns do.",
        "ALTER TABLE {table} RENAME COLUMN {subject} TO …",
    ),
    "key-too-wide": Entry(
        "error",
        "The widest key takes {subject} bytes; a btree entry holds 2704, so the build would fail after the cleanup.",
        "Shorten the values, or make a generated column of their hash and use it in the key. "
        "The index compresses long text: if you know that yours shrinks enough, accept this finding.",
        acceptable=True,
    ),
    "nulls-not-distinct": Entry(
        "error",
        "NULLS NOT DISTINCT needs PostgreSQL 15; this is {subject}.",
        "Leave nulls_not_distinct out, or make the columns NOT NULL.",
    ),
    "name-taken": Entry(
        "error",
        "The constraint's name is taken: {subject}.",
        "Choose another name; a constraint shares its name with its index, which is unique in the schema.",
    ),
    "no-primary-key": Entry(
        "info",
        "{table} has no primary key; rows are told apart by (ctid, xmin), under lock.",
        "Nothing to do. A primary key makes batches cheaper and archived rows easier to find.",
    ),
    # The server and the session
    "server-version": Entry(
        "error",
        "PostgreSQL {subject} can build a wrong index concurrently, or is older than this software knows.",
        "Upgrade to 14.4 or later.",
    ),
    "read-only-server": Entry(
        "error",
        "The server takes no writes: {subject}.",
        "Connect to the primary (several hosts: target_session_attrs=read-write), or reset default_transaction_read_only for this role.",
    ),
    "replication-role": Entry(
        "error",
        "session_replication_role is {subject}: foreign keys and triggers would not fire.",
        "ALTER ROLE … RESET session_replication_role, or take it out of the connection's options.",
    ),
    "transaction-pooler": Entry(
        "error",
        "A connection pooler stands between this program and the server ({subject}); in transaction mode locks and settings would leak.",
        "Connect to PostgreSQL itself. If the pooler is in session mode, accept this finding.",
        acceptable=True,
    ),
    "not-owner": Entry(
        "error",
        "{table} belongs to role {subject}; only its owner can add a constraint.",
        "Connect as {subject}, or as a role that is a member of it.",
    ),
    "missing-privilege": Entry(
        "error",
        "The role lacks {subject}.",
        "GRANT {subject} TO the migration's role; for the ledger, a superuser can also run: CREATE SCHEMA dupe_audit AUTHORIZATION owner_of_the_table;",
    ),
    "untrusted-ledger": Entry(
        "error",
        "Schema dupe_audit is there already and belongs to role {subject}, who could read what is archived.",
        "Find out who made it; then ALTER SCHEMA dupe_audit OWNER TO the owner of {table}, or to a superuser.",
    ),
    "row-security": Entry(
        "error",
        "Row security applies to this role on {table}; rows that a policy hides would be missed.",
        "Run as a role with BYPASSRLS, or ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY and run as the owner.",
    ),
    # What stands around the table
    "foreign-key-references": Entry(
        "error",
        "{subject} reference rows that would have to leave.",
        "Have them follow the survivor, references='repoint', or point them there yourself (UPDATE child SET …), then run this again. "
        "Nothing is archived as long as an extra is referenced.",
    ),
    "cannot-repoint": Entry(
        "error",
        "Children cannot be pointed at the survivors: {subject}.",
        "Remove the cause, or point them at the row that stays yourself (UPDATE child SET …), then run this again.",
    ),
    "repoint-collision": Entry(
        "error",
        "{subject} once they point at the survivors.",
        "Decide which of the rows that then stand for the same are to stay, delete or change the others, then run this again.",
    ),
    "child-trigger": Entry(
        "error",
        "Trigger {subject} fires once for every child that is pointed at a survivor, and once more on the way back.",
        "Make it skip the migration (for instance by its application_name), or accept this finding if it may fire.",
        acceptable=True,
    ),
    "foreign-key-unindexed": Entry(
        "warning",
        "The foreign key {subject} has no index, so every archived row scans that table.",
        "CREATE INDEX CONCURRENTLY ON {subject};",
    ),
    "delete-trigger": Entry(
        "error",
        "Trigger {subject} on {table} fires once for every archived row.",
        "Make it skip the migration (for instance by its application_name), or accept this finding if it may fire.",
        acceptable=True,
    ),
    "insert-trigger": Entry(
        "warning",
        "Trigger {subject} on {table} fires for every row that a restore puts back.",
        "Check that it changes nothing; a restored row that it changes is rolled back and reported.",
    ),
    "rewrite-rule": Entry(
        "error",
        "Rule {subject} on {table} rewrites INSERT or DELETE, so rows would not go where they are sent.",
        "DROP RULE {subject} ON {table}; a trigger does the same job and can be seen here.",
    ),
    "replica-identity": Entry(
        "error",
        "{table} is published ({subject}) without a replica identity, so no row of it can be deleted.",
        "Give it a primary key, or ALTER TABLE {table} REPLICA IDENTITY FULL;",
    ),
    "published-table": Entry(
        "warning",
        "{table} is published ({subject}): deletes reach the subscribers, the constraint does not.",
        "Clean and constrain the subscribers too.",
    ),
    "published-ledger": Entry(
        "error",
        "Publication {subject} is for all tables, the ledger's included: a subscriber that lacks them stops at the first row.",
        "Publish tables by name; or, if nobody subscribes or the subscribers have schema dupe_audit and its tables, accept this finding.",
        acceptable=True,
    ),
    "subscribed-table": Entry(
        "warning",
        "{table} is filled by subscription {subject}: a duplicate that arrives after the constraint stops replication.",
        "Clean and constrain the publisher first, and this table once nothing of its old duplicates is on the way any more.",
    ),
    "prepared-transaction": Entry(
        "error",
        "Prepared transaction {subject!r} holds a lock on {table}; a concurrent build waits for it for ever.",
        "COMMIT PREPARED {subject!r}; or ROLLBACK PREPARED {subject!r};",
    ),
    "long-transaction": Entry(
        "warning",
        "An open transaction would hold up the build now: {subject}.",
        "Let it end, or end it: SELECT pg_terminate_backend(pid); the build waits for it and goes on.",
    ),
    "collation-version": Entry(
        "warning",
        "Collation {subject} of a key column changed with the operating system; old indexes on it may be wrong.",
        "REINDEX the indexes that use it, then ALTER COLLATION {subject} REFRESH VERSION. The count here trusts no index.",
    ),
    # Duplicates
    "duplicates": Entry(
        "warning",
        "{subject}.",
        "The upgrade archives the extras before it adds the constraint: op.archive_duplicates(…). Nothing is lost; downgrade brings them back.",
    ),
    "divergent-duplicates": Entry(
        "error",
        "{subject} carry different data under one key; dropping any of them loses something.",
        "Look at them (dupe-audit preflight … --show-keys), then choose: repair the data, name columns that may differ with ignore=[…], "
        "or keep one row by rule and archive the others with divergent='archive'.",
    ),
    # Indexes and constraints
    "already-enforced": Entry("info", "{subject} enforces the key already.", "Nothing to do."),
    "equivalent-index": Entry(
        "error",
        "{subject} enforces the same key already; a second index would only cost writes.",
        "Use it: for an index, ALTER INDEX … RENAME TO the constraint's name and run this again, and it is attached; "
        "for a constraint, ALTER TABLE {table} RENAME CONSTRAINT … TO ….",
    ),
    "stricter-index": Entry(
        "warning",
        "{subject} is unique on fewer of these columns, so the key can hold no duplicates anyway.",
        "Leave the new constraint out, or drop the stricter one if it says too much.",
    ),
    "invalid-index": Entry(
        "error",
        "Index {subject} is invalid: left behind by a build that failed; it can reject writes all the same.",
        "If nobody is building it: DROP INDEX CONCURRENTLY {subject}; one of our own runs is taken up and cleaned automatically.",
    ),
    "live-build": Entry(
        "error",
        "Backend {subject} is building an index on {table} right now.",
        "Wait until it ends; if its client is gone: SELECT pg_terminate_backend({subject});",
    ),
    "wrong-definition": Entry(
        "error",
        "The name {subject} stands for something else: other columns, another NULL rule, INCLUDE, or deferrability.",
        "Choose another name, or drop what has it. It is neither adopted nor dropped by its name alone.",
    ),
    # After the change
    "constraint-missing": Entry(
        "error", "{table} has no constraint {subject}.", "Run: alembic upgrade head. It continues where it stopped."
    ),
    "index-not-valid": Entry(
        "error",
        "The index of constraint {subject} is not valid, so it enforces nothing reliably.",
        "Run: alembic upgrade head. It drops its own invalid index and builds it again.",
    ),
    "duplicates-remain": Entry(
        "error",
        "{subject} extras are in {table}, counted without any index.",
        "If the constraint is there, its index is corrupt: REINDEX after cleaning. Otherwise run: alembic upgrade head.",
    ),
    "index-corrupt": Entry(
        "error",
        "amcheck objects to the index: {subject}.",
        "REINDEX INDEX CONCURRENTLY …; if that fails on duplicates, downgrade, upgrade again, and look for failing storage.",
    ),
    "amcheck-missing": Entry(
        "info",
        "The extension amcheck is not installed, so the index was judged by catalog and count alone.",
        "CREATE EXTENSION amcheck; (optional)",
    ),
    "archive-missing": Entry(
        "error",
        "The archive of run {subject} is gone, though its rows were neither restored nor purged.",
        "Bring back table dupe_audit.archive_{subject} from a backup, or accept the loss with: dupe-audit purge {subject}",
    ),
    "ledger-mismatch": Entry(
        "error",
        "The ledger's sums do not agree: {subject}.",
        "Somebody changed the ledger or an archive by hand. Compare dupe_audit.batch with the archive before you restore or purge.",
    ),
    "run-unfinished": Entry(
        "error",
        "Run {subject} stopped half way.",
        "Run: alembic upgrade head. It continues. To go back instead: dupe-audit restore {subject}",
    ),
    # Restore
    "rows-not-restored": Entry(
        "error",
        "{subject} archived rows could not go back; they stay in the archive.",
        "Column dupe_audit_problem of the archive says why, row by row. Remove the cause and restore again; rows that are back are not touched.",
    ),
    "children-not-returned": Entry(
        "error",
        "{subject} children could not be pointed back; they stay at the survivors.",
        "Column dupe_audit_problem of dupe_audit.children_<run>_<number> says why, row by row. Remove the cause and restore again.",
    ),
}
