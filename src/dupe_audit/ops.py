"""The Alembic directives, registered by ``import dupe_audit.ops`` in ``env.py``: ``op.archive_duplicates``."""

from __future__ import annotations

from dupe_audit.directives import autogenerate, online

__all__ = ["autogenerate", "online"]
