"""Constraint: build a unique index, attach it as a constraint, and drop it again."""

from dupe_audit.constraint.attach import enforce
from dupe_audit.constraint.dropping import drop
from dupe_audit.constraint.index import BUILDING, memory
from dupe_audit.constraint.names import name_owner_sql
from dupe_audit.constraint.replace import drop_findings, has_definition, is_absent, rename, swap, temporary_name
from dupe_audit.constraint.rounds import pause_before
from dupe_audit.constraint.work import constraint_form

__all__ = [
    "BUILDING",
    "constraint_form",
    "drop",
    "drop_findings",
    "enforce",
    "has_definition",
    "is_absent",
    "memory",
    "name_owner_sql",
    "pause_before",
    "rename",
    "swap",
    "temporary_name",
]
