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
        "merge their values with merge=…, keep one row by rule and archive the others with divergent='archive', "
        "or change the others with divergent='amend' and set_=….",
    ),
    "column-not-changeable": Entry(
        "error",
        "A cleanup of {table} cannot change a column that set_ or merge names: {subject}.",
        "Choose other columns for set_ or merge. A table without a primary key needs one first.",
    ),
    "change-fails": Entry(
        "error",
        "Rows of {table} cannot be changed as set_ or merge says: {subject}.",
        "Choose another value or merge method, or correct the rows. In set_, SQL needs sa.text(…); a string or a list is a value. "
        "Then run the same command again.",
    ),
    "amendment-incomplete": Entry(
        "error",
        "After amendment, {subject} would still have the key of another row.",
        "Let set_ either give a column of the key a value that differs for each row, for example with duplicate.number, or take the row out of the predicate (where). "
        "NULL takes a row out of a key whose NULLs are distinct. In set_, SQL needs sa.text(…); a string is a value.",
    ),
    "cannot-restore": Entry(
        "error",
        "Extras of {table} could not be inserted again, so a downgrade could not restore them: {subject}.",
        "Correct these rows, or drop the constraint if it is not meant to hold; then run the same command again. "
        "VALIDATE CONSTRAINT shows whether all rows obey it.",
    ),
}
