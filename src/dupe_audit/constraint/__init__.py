"""Constraint: build a unique index, attach it as a constraint, and drop it again."""

from dupe_audit.constraint.attach import enforce
from dupe_audit.constraint.dropping import drop

__all__ = ["drop", "enforce"]
