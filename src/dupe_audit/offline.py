"""The same steps as reviewable SQL for ``alembic upgrade --sql``."""
