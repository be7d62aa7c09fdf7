"""Connect the command line to the database that the user means, and say which database that is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from configparser import Error as ConfigError
from pathlib import Path

import psycopg
from alembic.config import Config
from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection, NullPool, create_engine

from dupe_audit.errors import DupeAuditError, WrongUsage
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.session import without_pg_catalog
from dupe_audit.postgres.sqlstates import reason
from dupe_audit.statements import statement


def find_url(database_url: str | None, config_file: str) -> str:
    """Return the database URL: *database_url*, else DATABASE_URL, else the Alembic config's ``sqlalchemy.url``.

    Raises:
        WrongUsage: none of them is set, or the config cannot be read.
    """
    url = database_url or os.environ.get("DATABASE_URL") or _from_config(config_file)
    if not url:
        raise WrongUsage(
            "No database URL. Give --database-url, set DATABASE_URL, or name an Alembic config that sets "
            "sqlalchemy.url: dupe-audit -c FILE …"
        )
    return url


def _from_config(config_file: str) -> str | None:
    if not Path(config_file).is_file():
        return None
    try:
        return Config(config_file).get_main_option("sqlalchemy.url")
    except ConfigError as error:
        raise WrongUsage(
            f"{config_file} cannot be read: {type(error).__name__}. In an ini file, write % as %%."
        ) from None


def libpq_url(url: str) -> str:
    """Return *url* in the form that libpq reads; libpq itself handles sockets, several hosts, services and escapes.

    Raises:
        WrongUsage: it is not a URL, or one for another database system.
    """
    scheme = re.match(r"^(\w+)(\+\w+)?://", url)
    if scheme is None:
        if "=" in url:  # a libpq keyword string, such as service=orders
            return url
        raise WrongUsage("The database URL cannot be read. Write postgresql://user:password@host:port/database.")
    if scheme[1] not in ("postgresql", "postgres"):
        raise WrongUsage(f"The URL is for {scheme[1]}; only PostgreSQL is supported.")
    return "postgresql://" + url[scheme.end() :]


def creator(url: str) -> Callable[[], psycopg.Connection[tuple[object, ...]]]:
    """Return a function for ``create_engine(..., creator=...)``, for every URL that libpq can read.

    SQLAlchemy itself cannot read a URL with several hosts or with a service.

    Raises:
        WrongUsage: the URL cannot be read (part of it is checked only when connecting).
        DupeAuditError: when connecting, the server cannot be reached or refuses the connection.
    """
    conninfo = libpq_url(url)
    # Without it, a database in SQL_ASCII answers with bytes, and one in LATIN1 cannot be asked about other names.
    named = "client_encoding" in conninfo or "PGCLIENTENCODING" in os.environ

    def create() -> psycopg.Connection[tuple[object, ...]]:
        try:
            encoded = conninfo if named else make_conninfo(conninfo, client_encoding="utf8")
            connection = psycopg.connect(encoded, connect_timeout=10, fallback_application_name="dupe-audit")
        except psycopg.ProgrammingError:
            # Its message quotes the URL, which may hold a password.
            raise WrongUsage(
                "The database URL cannot be read. Percent-escape special characters in the password."
            ) from None
        except psycopg.OperationalError as error:
            raise DupeAuditError(
                f"Cannot connect: {reason(error)}. Check that the URL is right, the server is running, and it accepts "
                "this role."
            ) from error
        _trust_path(connection)
        return connection

    return create


def _trust_path(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Let operators be found in ``pg_catalog`` first: SQLAlchemy executes some as soon as it connects."""
    cursor = connection.execute("SELECT pg_catalog.current_setting('search_path')")
    path = str((cursor.fetchone() or ("",))[0])
    if (trusted := without_pg_catalog(path)) != path:
        connection.execute("SELECT pg_catalog.set_config('search_path', %s, false)", (trusted,))
    connection.commit()


def connect(url: str) -> Connection:
    """Return a new connection in autocommit mode, outside any pool.

    Raises:
        WrongUsage: the URL cannot be read.
        DupeAuditError: the server cannot be reached or refuses the connection.
    """
    engine = create_engine(
        "postgresql+psycopg://", creator=creator(url), poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )
    return engine.connect()


def describe(connection: Connection) -> str:
    """Return database, host, role and server version of the connection, never the password."""
    driver = connection.connection.driver_connection
    info = getattr(driver, "info", None)
    host = f"{info.host or 'local socket'}:{info.port}" if info else "the server"
    row = execute(connection, statement("describe_connection")).one()
    return f"database {row.database} on {host} as {row.role} (PostgreSQL {row.version})"
