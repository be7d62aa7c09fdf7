"""Findings about what surrounds the table: foreign keys, triggers, rules, replication, other transactions."""

from __future__ import annotations

from dupe_audit.findings.entry import Entry
from dupe_audit.findings.ids import StepId

SURROUNDINGS: dict[StepId, Entry] = {
    "foreign-key-references": Entry(
        "error",
        "Extras are referenced by {subject}.",
        "Let the upgrade point these rows at the survivors (references='repoint'), or do it yourself (UPDATE child SET …), then run the same command again. "
        "Nothing is archived while an extra is referenced.",
    ),
    "cannot-repoint": Entry(
        "error",
        "Referencing rows cannot be pointed at the survivors: {subject}.",
        "Remove the cause, or point these rows at the survivors yourself (UPDATE child SET …), then run the same command again.",
    ),
    "repoint-collision": Entry(
        "error",
        "Pointing referencing rows at the survivors would violate a constraint: {subject}.",
        "Decide which of the colliding rows to keep, delete or change the others, then run the same command again.",
    ),
    "child-trigger": Entry(
        "error",
        "Trigger {subject} fires for every row that is pointed at a survivor, and again on downgrade.",
        "Make the trigger skip the migration (for example by its application_name), or accept this finding if it may fire.",
        acceptable=True,
    ),
    "foreign-key-unindexed": Entry(
        "error",
        "No index supports foreign key {subject}, so the referencing table is scanned for each extra while rows are locked.",
        "CREATE INDEX CONCURRENTLY ON {subject}; or accept this finding: batches shrink until each takes about 200 ms, but one extra takes at least one scan.",
        acceptable=True,
    ),
    "delete-trigger": Entry(
        "error",
        "Trigger {subject} on {table} fires for every archived row.",
        "Make the trigger skip the migration (for example by its application_name), or accept this finding if it may fire.",
        acceptable=True,
    ),
    "update-trigger": Entry(
        "error",
        "Trigger {subject} on {table} fires for every amended or merged row, and again on downgrade.",
        "Make the trigger skip the migration (for example by its application_name), or accept this finding if it may fire (alembic -x dupe_audit.accept=update-trigger). "
        "What the trigger writes again on downgrade, such as the time of the last change, is not restored. Nor is what it changes in other rows.",
        acceptable=True,
    ),
    "insert-trigger": Entry(
        "warning",
        "Trigger {subject} on {table} fires for every row that a restore inserts.",
        "Check that it does not change the row; a restored row that it changes is rolled back and reported.",
    ),
    "rewrite-rule": Entry(
        "error",
        "Rule {subject} on {table} rewrites INSERT, UPDATE or DELETE, so rows could go to another table or nowhere.",
        "Replace it with a trigger, which preflight can check; then, with a short lock_timeout: DROP RULE {subject} ON {table};",
    ),
    "replica-identity": Entry(
        "error",
        "{table} is published ({subject}) without a replica identity, so its rows can be neither deleted nor updated.",
        "Give it a primary key, or: ALTER TABLE {table} REPLICA IDENTITY FULL;",
    ),
    "publication-columns": Entry(
        "error",
        "Publication {subject} makes PostgreSQL reject every update and delete of {table}: its row filter uses a column outside the replica identity, or its column list lacks a column of the replica identity.",
        "For a row filter: ALTER TABLE {table} REPLICA IDENTITY FULL; For a column list, add the missing columns: ALTER PUBLICATION {subject} SET TABLE …;",
    ),
    "published-table": Entry(
        "warning",
        "{table} is published ({subject}): the rows that a cleanup deletes or updates are sent to the subscribers; the constraint is not.",
        "Clean and constrain the table on the subscribers too. A publication without update or delete does not send these changes. "
        "Under a row filter, a row that no longer satisfies it after an update is deleted on the subscriber.",
    ),
    "published-ledger": Entry(
        "error",
        "Publication {subject} is FOR ALL TABLES, including the ledger: a subscriber without the ledger's tables stops at their first row.",
        "Publish tables by name; or, if nobody subscribes or the subscribers have schema dupe_audit and its tables, accept this finding.",
        acceptable=True,
    ),
    "subscribed-table": Entry(
        "warning",
        "{table} is filled by subscription {subject}: a duplicate that arrives once the constraint exists stops replication.",
        "Clean and constrain the publisher first, and this table once no old duplicates are still in transit.",
    ),
    "prepared-transaction": Entry(
        "error",
        "Prepared transaction {subject!r} holds a lock on {table}; a concurrent build would wait for it forever.",
        "End it: COMMIT PREPARED {subject!r}; or ROLLBACK PREPARED {subject!r};",
    ),
    "long-transaction": Entry(
        "warning",
        "An open transaction would delay the build: {subject}.",
        "Wait until it ends, or end it: SELECT pg_terminate_backend(pid); otherwise the build waits for it, then continues.",
    ),
    "collation-version": Entry(
        "warning",
        "Collation {subject} of a key column has changed version, usually with the operating system; old indexes on it may be wrong.",
        "REINDEX the indexes that use it, then: ALTER COLLATION {subject} REFRESH VERSION; The counts here use no index.",
    ),
}
