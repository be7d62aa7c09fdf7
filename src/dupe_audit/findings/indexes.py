"""Findings about indexes and constraints that already exist on the table."""

from __future__ import annotations

from dupe_audit.findings.entry import Entry
from dupe_audit.findings.ids import StepId

INDEXES: dict[StepId, Entry] = {
    "already-enforced": Entry("info", "{subject} already enforces the key.", "No action needed."),
    "equivalent-index": Entry(
        "error",
        "{subject} already enforces the same key; a second index would only make writes slower.",
        "Use the existing one, or drop it first.",
    ),
    "stricter-index": Entry(
        "warning",
        "{subject} already forbids every duplicate of this key.",
        "Leave the new constraint out of the revision.",
    ),
    "invalid-index": Entry(
        "error",
        "Index {subject} is invalid, left behind by a failed build; it can still reject writes.",
        "If an interrupted `alembic upgrade` was building it, run that again: it drops its own index first. Otherwise, if no session is building it: DROP INDEX CONCURRENTLY {subject};",
    ),
    "live-build": Entry(
        "error",
        "Another session (pid {subject}) is building an index on {table}.",
        "Wait until it ends; if its client is gone: SELECT pg_terminate_backend({subject});",
    ),
    "wrong-definition": Entry(
        "error",
        "{subject} already exists with another definition: columns, their order, sort order, collation, operator class, NULL rule, INCLUDE, kind or deferrability.",
        "Choose another name, or drop the existing one. Nothing is adopted or dropped because of its name alone.",
    ),
    "not-a-constraint": Entry(
        "error",
        "{subject} on {table}, not a unique constraint, so this directive does not drop it.",
        "Check the name. A unique index without a constraint is dropped by op.drop_unique_index_online(…).",
    ),
    "not-a-unique-index": Entry(
        "error",
        "{subject} on {table}, not a unique index, so this directive does not drop it.",
        "Check the name. A unique constraint is dropped by op.drop_unique_constraint_online(…).",
    ),
    "constraint-in-use": Entry(
        "error",
        "The constraint of {table} is needed by {subject}.",
        "In an earlier revision, drop a foreign key or let it reference another unique key, and give a published table another replica identity: ALTER TABLE {table} REPLICA IDENTITY DEFAULT, or FULL if it has no primary key.",
    ),
}
