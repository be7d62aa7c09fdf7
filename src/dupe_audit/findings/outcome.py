"""Findings after the change: what verify finds, and what a restore leaves."""

from __future__ import annotations

from dupe_audit.findings.entry import Entry
from dupe_audit.findings.ids import StepId

OUTCOME: dict[StepId, Entry] = {
    # verify
    "constraint-missing": Entry(
        "error",
        "{table} has no constraint {subject}.",
        "If the revision is not applied yet, run: alembic upgrade head, which continues where it stopped. Otherwise: docs/reference/findings/constraint-missing.md",
    ),
    "index-not-valid": Entry(
        "error",
        "The index of constraint {subject} is invalid, so it does not reliably enforce anything.",
        "If the revision is not applied yet, run: alembic upgrade head, which drops its own invalid index and builds it again. Otherwise downgrade and upgrade again.",
    ),
    "leaf-not-enforced": Entry(
        "error",
        "{table} has no valid part of the constraint: {subject}.",
        "If the revision is not applied yet, run: alembic upgrade head, which builds what is missing and attaches it. "
        "Otherwise attach the part by hand: docs/reference/findings/leaf-not-enforced.md",
    ),
    "misplaced-rows": Entry(
        "error",
        "{table} holds {subject} that belong to another partition, so equal keys can be in several partitions, and the constraint does not prevent that.",
        "The hash function or the collation of the partition key has changed since they were written. Move them: delete them from "
        "the partition and insert them through the partitioned table, in one transaction.",
    ),
    "duplicates-remain": Entry(
        "error",
        "{table} still holds {subject}, counted without any index.",
        "If the constraint exists, its index is corrupt: resolve the duplicates, then REINDEX. Otherwise run: alembic upgrade head.",
    ),
    "index-corrupt": Entry(
        "error",
        "amcheck reports that the index is corrupt: {subject}.",
        "REINDEX INDEX CONCURRENTLY …; If that fails on duplicates, downgrade and upgrade again. Then check the storage.",
    ),
    "amcheck-missing": Entry(
        "info",
        "The extension amcheck is not installed, or this role may not use it; the index was judged by the catalog and a count alone.",
        "Optional: CREATE EXTENSION amcheck;",
    ),
    "archive-missing": Entry(
        "error",
        "The archive of run {subject} is gone, although its rows were neither restored nor purged.",
        "Restore table dupe_audit.archive_{subject} from a backup, or accept the loss: dupe-audit purge {subject}",
    ),
    "table-replaced": Entry(
        "error",
        "{table} is not the table whose rows were archived under this name: {subject}.",
        "To put the rows back where they came from: dupe-audit restore RUN. If nobody needs them: dupe-audit purge RUN. Then run the same command again.",
    ),
    "run-missing": Entry(
        "error",
        "The ledger has no run of this key, although {subject}.",
        "Restore schema dupe_audit, with all its tables, from the same backup as the table. If nothing was ever archived here, accept this finding.",
        acceptable=True,
    ),
    "ledger-mismatch": Entry(
        "error",
        "The ledger's sums do not agree: {subject}.",
        "The ledger or an archive was changed by hand. Restore the missing rows of the archive from a backup; or, if they were erased on purpose, add their number to column erased of the run.",
    ),
    "run-unfinished": Entry(
        "error",
        "Run {subject} is not finished: its cleanup was interrupted, or is still running.",
        "Run: alembic upgrade head. It continues where it stopped. To go back instead: dupe-audit restore {subject}",
    ),
    # restore
    "rows-not-restored": Entry(
        "error",
        "The archive still holds {subject} that could not be restored.",
        "Column dupe_audit_problem of the archive gives the reason for each row. Remove the cause and restore again; rows already restored are not touched.",
    ),
    "children-not-returned": Entry(
        "error",
        "The survivors are still referenced by {subject} that could not be pointed back.",
        "Column dupe_audit_problem of dupe_audit.children_<run>_<number> gives the reason for each row. Remove the cause and restore again.",
    ),
}
