"""The environment of the reference project: ordinary, except for the import that registers the directives."""

import os
from logging.config import fileConfig

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, pool

import dupe_audit.ops  # noqa: F401 - registers op.archive_duplicates() and the rest
from dupe_audit.connect import creator
from dupe_audit.errors import DupeAuditError

config = context.config
if config.config_file_name is not None:
    fileConfig(config.config_file_name, disable_existing_loggers=False)


def database_url() -> str:
    """Return the URL to connect to; if none is set, libpq's own defaults (PGHOST, PGDATABASE, …) apply."""
    return os.environ.get("DATABASE_URL") or config.get_main_option("sqlalchemy.url") or "postgresql://"


def run_migrations_offline() -> None:
    """Print the SQL instead of executing it; needs no database."""
    context.configure(
        url="postgresql+psycopg://",
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_migrations_online() -> None:
    """Run on the connection that a caller put into the config, otherwise on a new one."""
    connection = config.attributes.get("connection")
    if connection is not None:
        _run(connection)
        return
    try:
        engine = create_engine("postgresql+psycopg://", creator=creator(database_url()), poolclass=pool.NullPool)
        with engine.connect() as connection:
            _run(connection)
    except DupeAuditError as error:
        raise CommandError(str(error)) from None


def _run(connection: Connection) -> None:
    # One transaction per revision, so that a short exclusive lock is not held until the whole upgrade ends.
    context.configure(connection=connection, target_metadata=None, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
