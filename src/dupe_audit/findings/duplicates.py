"""Findings about the duplicates themselves."""

from __future__ import annotations

from dupe_audit.findings.entry import Entry
from dupe_audit.findings.ids import StepId

DUPLICATES: dict[StepId, Entry] = {
    "duplicates": Entry(
        "warning",
        "{subject}.",
        "Let the upgrade archive the extras before it adds the constraint: op.archive_duplicates(…). Nothing is lost; the downgrade restores them.",
    ),
    "divergent-duplicates": Entry(
        "error",
        "Rows of {table} with the same key carry different data in {subject}; removing any of them could lose data.",
        "Then choose: correct the data, name the columns that may differ with ignore=[…] (--ignore), "
        "or keep one row by rule and archive the others with divergent='archive'.",
    ),
    "cannot-restore": Entry(
        "error",
        "Extras of {table} could not be inserted again, so a downgrade could not restore them: {subject}.",
        "Correct these rows, or drop the constraint if it is not meant to hold; then run the same command again. "
        "VALIDATE CONSTRAINT shows whether all rows obey it.",
    ),
}
