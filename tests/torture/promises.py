"""What must hold at every moment, read from the database and from nothing that the software reports."""

from collections.abc import Callable
from typing import Any

Ask = Callable[[str], Any]

#: for one run: a fault, and the query that finds it; the table is t, its constraint uq
ABOUT_A_RUN = {
    "batches that do not add up": """
        SELECT 1 FROM dupe_audit.run r WHERE id = {run} AND (r.archived, r.restored) NOT IN (
            SELECT coalesce(sum(b.archived), 0)::int8, coalesce(sum(b.restored), 0)::int8
            FROM dupe_audit.batch b WHERE b.run_id = r.id)""",
    "an enforced run without its constraint": """
        SELECT 1 FROM dupe_audit.run r WHERE id = {run} AND state = 'enforced' AND NOT EXISTS (
            SELECT FROM pg_constraint c JOIN pg_index i ON i.indexrelid = c.conindid
            WHERE c.conrelid = 't'::regclass AND c.conname = r.constraint_name AND i.indisvalid)""",
}

ABOUT_AN_ARCHIVE = {
    "sums that contradict the archive": """
        SELECT 1 FROM dupe_audit.run WHERE id = {run} AND (archived, restored) NOT IN (
            SELECT count(*), count(dupe_audit_restored_at) FROM dupe_audit.archive_{run})""",
    "a restored run with rows in its archive": """
        SELECT 1 FROM dupe_audit.run WHERE id = {run} AND state = 'restored'
        AND EXISTS (SELECT FROM dupe_audit.archive_{run} WHERE dupe_audit_restored_at IS NULL)""",
}

ABOUT_THE_TABLE = {
    "a constraint that the newest run says is dropped": """
        SELECT 1 FROM (SELECT state FROM dupe_audit.run ORDER BY id DESC LIMIT 1) AS newest
        WHERE state IN ('dropped', 'restored') AND EXISTS (SELECT FROM pg_constraint WHERE conname = 'uq')""",
    "an unfinished index that is not in the ledger": """
        SELECT 1 FROM pg_index WHERE indrelid = 't'::regclass AND NOT indisvalid
        AND NOT EXISTS (SELECT 1 FROM dupe_audit.run WHERE building AND constraint_name = 'uq')""",
}


def runs(sql: Ask) -> dict[int, bool]:
    """Return the ids of the ledger's runs, oldest first, and for each whether it has an archive."""
    if sql("SELECT to_regclass('dupe_audit.batch')") == [(None,)]:
        return {}
    archive = "to_regclass('dupe_audit.archive_' || id) IS NOT NULL"
    return dict(sql(f"SELECT id, {archive} FROM dupe_audit.run ORDER BY id"))


def broken(sql: Ask) -> list[str]:
    """Return the contradictions between ledger, archives and catalog."""
    faults = []
    archives = runs(sql)
    for run, has_archive in archives.items():
        queries = ABOUT_A_RUN | (ABOUT_AN_ARCHIVE if has_archive else {})
        faults += [f"run {run}: {fault}" for fault, query in queries.items() if sql(query.replace("{run}", str(run)))]
    return faults + [fault for fault, query in ABOUT_THE_TABLE.items() if archives and sql(query)]
