"""The Alembic directives, such as ``op.archive_duplicates()``; ``import dupe_audit.ops`` in ``env.py`` adds them."""

from __future__ import annotations

from dupe_audit.directives import autogenerate, online

__all__ = ["autogenerate", "online"]
