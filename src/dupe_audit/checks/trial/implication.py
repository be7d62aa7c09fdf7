"""Whether an existing key rules out every duplicate of a new one, so that there is nothing to try."""

from __future__ import annotations

import re

from dupe_audit.schema.facts import Index
from dupe_audit.seeding.spec import conjuncts
from dupe_audit.statements import ident

_NAME = r"(?P<column>\w+|\"(?:[^\"]|\"\")+\")"
_CONSTANT = r"(?:'(?:[^']|'')*'(?:::[\w\s.\"]+)?|-?\d+(?:\.\d+)?|true|false)"
#: a column that equals a constant, as the server writes it
_EQUALS = re.compile(rf"{_NAME}\s*=\s*{_CONSTANT}")


def implies(old: Index, new: Index) -> bool:
    """Return whether rows that the new key considers equal are equal under the old one too.

    So they are if the old key has no part that the new one lacks, or reads only columns that are equal in such rows.
    """
    if not (old.unique and old.valid) or old.predicate not in (None, new.predicate):
        return False
    if new.nulls_not_distinct and not old.nulls_not_distinct:
        return False
    return set(old.elements) <= set(new.elements) or set(old.reads) <= {*filter(None, new.columns), *_fixed(new, old)}


def _fixed(new: Index, old: Index) -> set[str]:
    """Return the columns of the old key that have one value in all rows that the new key compares."""
    conditions = [] if new.predicate is None else conjuncts(new.predicate)
    fixed = set()
    for column in old.reads:
        names = {column, ident(column)}
        nulls = {f"{name} IS NULL" for name in names} if old.nulls_not_distinct else set()
        flags = {text for name in names for text in (name, f"NOT {name}")}
        for condition in conditions:
            equal = _EQUALS.fullmatch(condition)
            if condition in nulls | flags or (equal and equal["column"] in names):
                fixed.add(column)
    return fixed
