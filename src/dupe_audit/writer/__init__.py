"""Write rows into a table whose key is unique, or about to become so; say for every row what became of it.

``Writer`` takes batches over a psycopg connection. ``on_conflict`` gives people who have a SQLAlchemy session the
same clause for a statement of their own.
"""

from dupe_audit.writer.outcome import Outcome, Unavailable
from dupe_audit.writer.sqlalchemy import enforced, on_conflict
from dupe_audit.writer.target import Arbiter
from dupe_audit.writer.writer import Writer

__all__ = ["Arbiter", "Outcome", "Unavailable", "Writer", "enforced", "on_conflict"]
