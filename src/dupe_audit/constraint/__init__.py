"""Constraint: build a unique index, attach it as a constraint, and drop it again."""

from dupe_audit.constraint.attach import drop, enforce

__all__ = ["drop", "enforce"]
