"""Constraint: build the index, attach it, drop it."""

from dupe_audit.constraint.enforce import drop, enforce

__all__ = ["drop", "enforce"]
