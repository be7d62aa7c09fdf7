"""A unique constraint on a live PostgreSQL table that already holds duplicates.

Each step is a module or package with one main function: ``preflight``, ``cleanup``, ``constraint``, ``verify`` and
``restore``. They take a SQLAlchemy connection and the facts below. ``import dupe_audit.ops`` registers the Alembic
directives.
"""

from dupe_audit.errors import DupeAuditError
from dupe_audit.findings.entry import Finding
from dupe_audit.model import Batch, BuildRule, CleanupRule, DuplicateReport, Run, UniqueKey, VerifyReport

__all__ = [
    "Batch",
    "BuildRule",
    "CleanupRule",
    "DupeAuditError",
    "DuplicateReport",
    "Finding",
    "Run",
    "UniqueKey",
    "VerifyReport",
]
