"""Write rows to a table whose key is unique, or about to become unique; report the outcome of every row.

``Writer`` writes batches over a psycopg connection. ``on_conflict`` adds the same clause to an INSERT that you execute
in a SQLAlchemy session.
"""

from dupe_audit.writer.outcome import Outcome, Unavailable
from dupe_audit.writer.sqlalchemy import enforced, on_conflict
from dupe_audit.writer.target import Arbiter
from dupe_audit.writer.writer import Writer

__all__ = ["Arbiter", "Outcome", "Unavailable", "Writer", "enforced", "on_conflict"]
