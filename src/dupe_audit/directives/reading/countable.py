"""Whether preflight can count the duplicates under a key of a plain operation, in the rows before the revisions."""

from __future__ import annotations

import re

from dupe_audit.directives.reading.tables import Enforced, TrackedTable


def is_null(enforced: Enforced) -> bool:
    """Return whether a key has a new column without values, so that no two rows are equal."""
    plain = enforced.plain
    if plain is None or plain.primary or plain.nulls_not_distinct:
        return False
    return any(column.is_null for column in enforced.columns or ())


def uncountable(table: TrackedTable, enforced: Enforced) -> str | None:
    """Return why the rows of a key cannot be counted, or None."""
    plain = enforced.plain
    if plain is None:
        return None
    if enforced.may_repeat:
        return enforced.fills[-1]
    if enforced.columns is None and plain.elements is None:
        return "it is an exclusion constraint, or its expressions or predicate could not be read"
    for column in enforced.columns or ():
        if column.added:
            return f"column {column.name} is added by revision {column.added}"
        if column.retyped:
            return f"column {column.name} gets another type in revision {column.retyped}"
    return _unevaluable(table, plain.sql) if enforced.columns is None else None


def _unevaluable(table: TrackedTable, sql: str) -> str | None:
    """Return why an expression or a predicate cannot be evaluated on the rows before the revisions, or None."""
    for column in table.columns.values():
        changed = column.added or column.retyped or column.name != column.first
        if changed and re.search(rf"\b{re.escape(column.name)}\b", sql):
            return f"column {column.name} is added, renamed or gets another type in these revisions"
    return None
