"""Findings about partitioned tables: whether a constraint of the whole tree is possible."""

from __future__ import annotations

from dupe_audit.findings.entry import Entry
from dupe_audit.findings.ids import StepId

TREES: dict[StepId, Entry] = {
    "partitioned-table": Entry(
        "error",
        "{table} is partitioned, but the script was printed for a table that is not.",
        "Print it again: alembic -x dupe_audit.partitioned=TABLE upgrade … --sql. Or execute the upgrade online.",
    ),
    "partition-key-not-covered": Entry(
        "error",
        "{table} is partitioned by {subject}, which the key does not contain; PostgreSQL cannot compare rows of different partitions.",
        "Add the column to the key, if equal keys always have the same value in it. Otherwise constrain each partition by itself, "
        "or keep the keys in a separate table that is not partitioned.",
    ),
    "partition-key-expression": Entry(
        "error",
        "{table} is partitioned by an expression ({subject}), and PostgreSQL allows no unique constraint or index on such a table.",
        "Constrain each partition by itself: name it in the directives.",
    ),
    "partition-collation": Entry(
        "error",
        "{table} is partitioned by {subject} under a different collation from the column's own, so PostgreSQL refuses the constraint.",
        "Constrain each partition by itself, or partition the table again by the collation of its column.",
    ),
    "foreign-partition": Entry(
        "error",
        "{table} is a foreign table, which can have no unique index, so the whole tree can have none.",
        "Detach it (ALTER TABLE … DETACH PARTITION {table}), or constrain each other partition by itself.",
    ),
    "detach-pending": Entry(
        "error",
        "The concurrent detach of {table} was interrupted, so it is neither a partition nor an independent table.",
        "Complete it: ALTER TABLE … DETACH PARTITION {table} FINALIZE;",
    ),
    "partition-owner": Entry(
        "error",
        "{table} belongs to role {subject}, and this role may not build an index on it.",
        "Run the upgrade as a role that is a member of both owners, or give all partitions one owner: ALTER TABLE {table} OWNER TO …;",
    ),
    "partition-referenced": Entry(
        "error",
        "A foreign key references the single partition {table}: {subject}. Rows that reference the partition through it would be neither counted nor pointed at the survivors.",
        "Let the foreign key reference the partitioned table, or drop it for the time of the cleanup.",
    ),
    "lock-table-too-small": Entry(
        "error",
        "A downgrade would have to lock every table and index of {table} at once: {subject}. The upgrade would succeed, but the downgrade would fail.",
        "Raise max_locks_per_transaction and restart the server first. To upgrade without a way back, accept this finding.",
        acceptable=True,
    ),
}
