"""Connect the command line to the database that the user means, and say which one that is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from configparser import Error as ConfigError
from pathlib import Path

import psycopg
from alembic.config import Config
from sqlalchemy import Connection, NullPool, create_engine

from dupe_audit.errors import DupeAuditError, WrongUsage
from dupe_audit.postgres.sqlstates import reason


def find_url(given: str | None, config_file: str) -> str:
    """Return the database URL: as given, else DATABASE_URL, else the Alembic config's ``sqlalchemy.url``.

    Raises:
        WrongUsage: there is none, or it is not one of PostgreSQL.
    """
    url = given or os.environ.get("DATABASE_URL") or _from_config(config_file)
    if not url:
        raise WrongUsage(
            "No database is named. Give --database-url, set DATABASE_URL, or name an Alembic config that has "
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
    """Return *url* as libpq reads it: it knows sockets, several hosts, services and escapes itself.

    Raises:
        WrongUsage: the URL is of another database.
    """
    scheme = re.match(r"^(\w+)(\+\w+)?://", url)
    if scheme is None:
        if "=" in url:  # a libpq keyword string, such as service=orders
            return url
        raise WrongUsage("The database URL cannot be read. Write postgresql://user:password@host:port/database.")
    if scheme[1] not in ("postgresql", "postgres"):
        raise WrongUsage(f"The database URL is one of {scheme[1]}; this software speaks to PostgreSQL alone.")
    return "postgresql://" + url[scheme.end() :]


def creator(url: str) -> Callable[[], psycopg.Connection[tuple[object, ...]]]:
    """Return what ``create_engine(..., creator=...)`` wants, for every URL that libpq can read.

    SQLAlchemy itself reads no URL of several hosts, and none of a service.

    Raises:
        WrongUsage: the URL cannot be read (some of it is found out only when connecting).
        DupeAuditError: when connecting, the server cannot be reached, or does not let us in.
    """
    conninfo = libpq_url(url)

    def create() -> psycopg.Connection[tuple[object, ...]]:
        try:
            return psycopg.connect(conninfo, connect_timeout=10, fallback_application_name="dupe-audit")
        except psycopg.ProgrammingError:
            # Its message quotes the URL, which may hold a password.
            raise WrongUsage(
                "The database URL cannot be read. Percent-escape special characters in the password."
            ) from None
        except psycopg.OperationalError as error:
            raise DupeAuditError(
                f"Cannot connect: {reason(error)}. Check the URL, that the server runs, and that it lets this role in."
            ) from error

    return create


def connect(url: str) -> Connection:
    """Return an autocommit connection of its own, which no pool hands to anybody else.

    Raises:
        WrongUsage: the URL cannot be read.
        DupeAuditError: the server cannot be reached, or does not let us in.
    """
    engine = create_engine(
        "postgresql+psycopg://", creator=creator(url), poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )
    return engine.connect()


def describe(connection: Connection) -> str:
    """Return host, database, user and version of the connection; never the password."""
    driver = connection.connection.driver_connection
    info = getattr(driver, "info", None)
    host = f"{info.host or 'local socket'}:{info.port}" if info else "the server"
    name, user, version = connection.exec_driver_sql(
        "SELECT pg_catalog.current_database(), CURRENT_USER::text, pg_catalog.current_setting('server_version')"
    ).one()
    return f"database {name} on {host} as {user} (PostgreSQL {version})"
