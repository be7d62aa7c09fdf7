"""Findings about the server and the session: whether this connection can do the work."""

from __future__ import annotations

from dupe_audit.findings.entry import Entry
from dupe_audit.findings.ids import StepId

SESSION: dict[StepId, Entry] = {
    "yugabytedb": Entry(
        "error",
        "The server is YugabyteDB ({subject}), not PostgreSQL: it identifies and locks rows differently, and a failed build leaves a different state behind.",
        "Remove the duplicates with your own SQL, then CREATE UNIQUE INDEX, which YugabyteDB builds online by default. "
        "Step by step: docs/reference/findings/yugabytedb.md.",
    ),
    "cockroachdb": Entry(
        "error",
        "The server is CockroachDB ({subject}), not PostgreSQL: the locks, row positions and index builds that make a batch safe are missing there or work differently.",
        "Remove the duplicates with your own SQL, then ALTER TABLE … ADD CONSTRAINT … UNIQUE (…), which CockroachDB executes online. "
        "Step by step: docs/reference/findings/cockroachdb.md.",
    ),
    "server-version": Entry(
        "error",
        "PostgreSQL {subject} is not supported: 14.0 to 14.3 can build a corrupt index concurrently, and older versions are untested.",
        "Upgrade the server to 14.4 or later.",
    ),
    "read-only-server": Entry(
        "error",
        "The server accepts no writes: {subject}.",
        "Connect to the primary (with several hosts: target_session_attrs=read-write), or reset default_transaction_read_only for this role.",
    ),
    "replication-role": Entry(
        "error",
        "session_replication_role is {subject}, so foreign keys and triggers would not fire.",
        "ALTER ROLE … RESET session_replication_role; or remove it from the connection's options.",
    ),
    "transaction-pooler": Entry(
        "error",
        "A connection pooler sits in front of the server ({subject}); in transaction mode, locks and settings would end up in other sessions.",
        "Connect to PostgreSQL directly. If the pooler is in session mode, accept this finding.",
        acceptable=True,
    ),
    "not-owner": Entry(
        "error",
        "{table} is owned by role {subject}; only the owner can add a constraint.",
        "Connect as {subject}, or as a role that is a member of it.",
    ),
    "missing-privilege": Entry(
        "error",
        "The role lacks the privilege {subject}.",
        "GRANT {subject} TO migration_role; for the ledger, a superuser can also execute: CREATE SCHEMA dupe_audit AUTHORIZATION owner_of_the_table;",
    ),
    "changes-not-counted": Entry(
        "error",
        "{subject}, and only a superuser may turn it on: no batch could count the rows of other tables that ON DELETE CASCADE, SET NULL or SET DEFAULT deletes or changes.",
        "Turn it on in the server's configuration, or for this role (ALTER ROLE … SET track_counts = on), and connect again; or connect as a superuser.",
    ),
    "untrusted-ledger": Entry(
        "error",
        "Schema dupe_audit cannot be trusted: {subject}.",
        "If it is your ledger, connect as its owner, or see docs/reference/findings/untrusted-ledger.md for how to take it over safely. If you do not know it, move it away, and the next run creates its own: ALTER SCHEMA dupe_audit RENAME TO dupe_audit_untrusted;",
    ),
    "row-security": Entry(
        "error",
        "Row-level security on {table} applies to this role; rows hidden by a policy would be missed.",
        "Connect as a role with BYPASSRLS; or ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY; and connect as the owner.",
    ),
}
