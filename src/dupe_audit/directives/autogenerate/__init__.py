"""What ``alembic revision --autogenerate`` writes for unique keys that the models add, remove or change."""

from dupe_audit.directives.autogenerate import comparators

__all__ = ["comparators"]
