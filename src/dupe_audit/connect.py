"""Connect the command line to the database that the user means, and say which database that is."""

from __future__ import annotations

import os
from collections.abc import Callable
from configparser import Error as ConfigError
from configparser import InterpolationMissingOptionError
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection, NullPool, create_engine

from dupe_audit.config_file import alembic_config
from dupe_audit.errors import DupeAuditError, Refused, WrongUsage
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.products import product_finding
from dupe_audit.postgres.session import without_pg_catalog
from dupe_audit.postgres.sqlstates import reason
from dupe_audit.postgres.urls import PLACEHOLDER, libpq_url, without_secrets
from dupe_audit.statements import statement

__all__ = [
    "Address",
    "connect",
    "creator",
    "describe",
    "libpq_url",
    "locate",
]


@dataclass(frozen=True, slots=True)
class Address:
    """The URL of a database, and where it comes from."""

    url: str
    source: str  #: as messages name it, such as ``DATABASE_URL``


def locate(database_url: str | None, config_file: str, *, section: str = "alembic") -> Address:
    """Return the database URL with its source: *database_url*, else DATABASE_URL, else the Alembic config's.

    Args:
        database_url: of the option ``--database-url``.
        config_file: Alembic config, an ini file or a ``pyproject.toml`` next to one.
        section: of the ini file.

    Raises:
        WrongUsage: none of them is set or can be read, or the config that is needed cannot be read.
    """
    if section != "alembic":
        alembic_config(config_file, section=section)  # a section that is named must exist, even if its URL is not used
    if database_url:
        address = Address(database_url, "--database-url")
    elif variable := os.environ.get("DATABASE_URL"):
        address = Address(variable, "DATABASE_URL")
    elif configured := _from_config(config_file, section):
        address = Address(configured, f"sqlalchemy.url in {config_file}")
    else:
        raise WrongUsage(
            "No database URL. Give --database-url, set DATABASE_URL, or name an Alembic config that sets "
            "sqlalchemy.url: dupe-audit -c FILE …"
        )
    if address.url.startswith(f"{PLACEHOLDER}://"):
        raise WrongUsage(
            f"{address.source} is still the placeholder that `alembic init` writes. Set DATABASE_URL, give "
            "--database-url, or write the URL of your database there."
        )
    try:
        libpq_url(address.url)
    except WrongUsage as error:
        raise WrongUsage(f"{address.source}: {error}") from None
    return address


def _from_config(config_file: str, section: str) -> str | None:
    config = alembic_config(config_file, section=section)
    if config.config_file_name is None or not config.file_config.has_section(section):
        return None
    try:
        return config.get_main_option("sqlalchemy.url")
    except InterpolationMissingOptionError:
        raise WrongUsage(
            f"sqlalchemy.url in {config_file} refers with %(…)s to an option that the file does not define. "
            "If env.py supplies it: the command line does not read env.py to find the URL, so set DATABASE_URL or give "
            "--database-url. If the % belongs to the URL itself, write %%."
        ) from None
    except ConfigError as error:
        raise WrongUsage(
            f"sqlalchemy.url in {config_file} cannot be read: {type(error).__name__}. In an ini file, write % as %%."
        ) from None


def creator(url: str, *, source: str = "the database URL") -> Callable[[], psycopg.Connection[tuple[object, ...]]]:
    """Return a function for ``create_engine(..., creator=...)``, for every URL that libpq can read.

    SQLAlchemy itself cannot read a URL with several hosts or with a service.

    Args:
        url: in any form that libpq reads.
        source: where it comes from, for messages.

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
        except psycopg.Error as error:
            raise _describe_failure(error, url, source) from None
        _trust_path(connection)
        return connection

    return create


def _trust_path(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Let operators be found in ``pg_catalog`` first: SQLAlchemy executes some as soon as it connects.

    Raises:
        Refused: the server is CockroachDB, to which SQLAlchemy's dialect cannot talk.
    """
    cursor = connection.execute(statement("new_session").encode())
    path, version = map(str, cursor.fetchone() or ("", ""))
    if (product := product_finding(version)) and product.id == "cockroachdb":
        connection.close()
        raise Refused([product], lead="Refused. Nothing was changed.")
    if (trusted := without_pg_catalog(path)) != path:
        connection.execute("SELECT pg_catalog.set_config('search_path', %s, false)", (trusted,))
    connection.commit()


def _describe_failure(error: psycopg.Error, url: str, source: str) -> DupeAuditError:
    """Return the message about a failure to connect, without any part of the password."""
    if "definition of service" in str(error) or "service file" in str(error):
        return WrongUsage(
            f"The service that {source} names cannot be used: {without_secrets(reason(error), [url])}. Check its "
            "definition in ~/.pg_service.conf or in the file that PGSERVICEFILE names."
        )
    if isinstance(error, psycopg.ProgrammingError):
        # Its message quotes the URL, which may hold a password.
        remedy = "Percent-escape special characters in the password."
        if "URI query parameter" in str(error):
            remedy = "After the ?, it has a parameter that PostgreSQL does not know: check its spelling."
        if "://" not in url:
            remedy = "Quote a value that contains spaces: password='…'."
        return WrongUsage(f"The database URL cannot be read ({source}). {remedy}")
    if "Servname not supported" in str(error) or "invalid port number" in str(error):
        return WrongUsage(f"The database URL cannot be read ({source}). Its port is not a number from 1 to 65535.")
    return DupeAuditError(
        f"Cannot connect with {source}: {without_secrets(reason(error), [url])}. Check that the URL is right, the "
        "server is running, and it accepts this role."
    )


def connect(url: str, *, source: str = "the database URL") -> Connection:
    """Return a new connection in autocommit mode, outside any pool.

    Args:
        url: in any form that libpq reads.
        source: where it comes from, for messages.

    Raises:
        WrongUsage: the URL cannot be read.
        DupeAuditError: the server cannot be reached or refuses the connection.
    """
    engine = create_engine(
        "postgresql+psycopg://",
        creator=creator(url, source=source),
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
    )
    return engine.connect()


def describe(connection: Connection) -> str:
    """Return database, host, role and server version of the connection, never the password."""
    row = execute(connection, statement("describe_connection")).one()
    return f"database {row.database} on {_host(connection)} as {row.role} (PostgreSQL {row.version})"


def _host(connection: Connection) -> str:
    """Return the host and port of a connection, whatever its driver."""
    info: Any = getattr(connection.connection.driver_connection, "info", None)
    if hasattr(info, "host"):
        return f"{info.host or 'local socket'}:{info.port}"
    url = connection.engine.url
    return f"{url.host}:{url.port or 5432}" if url.host else "the server"
