"""The migration environment of the harness: the URL and the application name are in the config's attributes."""

from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

import dupe_audit.ops  # noqa: F401 - registers the directives

attributes = context.config.attributes
engine = create_engine(
    attributes["url"], poolclass=NullPool, connect_args={"application_name": attributes["application_name"]}
)
with engine.connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
