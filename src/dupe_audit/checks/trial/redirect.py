"""Lead every connection that a project's ``env.py`` opens to the scratch database, whatever URL it has.

So the configured database cannot be touched, and its URL need not be known.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic.runtime.environment import EnvironmentContext
from sqlalchemy import Connection, Engine, event, make_url
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import ArgumentError, DisconnectionError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry, Pool

from dupe_audit.errors import DupeAuditError

#: what a project may say of a session beyond where it is; all else in its URL is about the server it does not go to
_KEPT = ("options", "server_settings", "prepare_threshold", "autocommit", "row_factory", "application_name")

#: under which a pooled connection's ``info`` has the database that it came to
_DATABASE = "dupe_audit_database"

#: and under which the one that the project meant: host, port and name
_MEANT = "dupe_audit_meant"


class SeveralDatabases(DupeAuditError):
    """The project's ``env.py`` migrates more than the one database that the check has."""


def in_terms_of(given: str | None, url: str) -> str:
    """Return *url* with the driver that the project's own URL names, if it is there; its ``env.py`` may count on it."""
    try:
        driver = make_url(given or "").drivername
        if driver.startswith("postgresql+"):
            made = make_url(url).set(drivername=driver)
            made.get_dialect().import_dbapi()
            return made.render_as_string(hide_password=False)
    except (ArgumentError, NoSuchModuleError, ImportError):
        pass  # a template's placeholder, or a driver that is not installed where the check runs
    return url


@contextmanager
def redirected(url: str) -> Iterator[None]:
    """Lead this process's new SQLAlchemy connections to *url* within the block.

    An engine with a ``creator=`` of its own connects by itself; its connection is refused before its first statement
    unless it comes to the same database.
    """
    target = make_url(url)

    def lead(dialect: Dialect, record: ConnectionPoolEntry | None, args: list[Any], parameters: dict[str, Any]) -> None:
        if dialect.name != "postgresql":
            raise DupeAuditError(f"The project's env.py connects to {dialect.name}; this check knows PostgreSQL alone.")
        there, options = dialect.create_connect_args(target.set(drivername=f"postgresql+{dialect.driver}"))
        if record:
            name = parameters.get("dbname") or parameters.get("database")
            record.info[_MEANT] = (parameters.get("host"), parameters.get("port"), name)
        kept = {name: parameters[name] for name in _KEPT if name in parameters}
        args[:] = there
        parameters.clear()
        parameters.update({**kept, **options})

    def refuse(connection: Any, record: ConnectionPoolEntry) -> None:
        record.info[_DATABASE] = name = _ask(connection, "SELECT pg_catalog.current_database()")
        if name != target.database:
            connection.close()
            raise DupeAuditError(
                "The project's env.py opens its connection by itself (creator=…), and not to the scratch database. "
                "Nothing was run on it. Let it use create_engine(url) when DATABASE_URL is set."
            )

    def renew(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        # An engine that a module of the project keeps has connections to the scratch database before this one.
        try:
            alive = record.info.get(_DATABASE) == target.database and _ask(connection, "SELECT 1") == 1
        except Exception:  # noqa: BLE001 - whatever the driver raises, the connection is no good
            alive = False
        if not alive:
            raise DisconnectionError("a connection to an earlier scratch database")

    event.listen(Engine, "do_connect", lead)
    event.listen(Pool, "connect", refuse)
    event.listen(Pool, "checkout", renew)
    try:
        yield
    finally:
        event.remove(Pool, "checkout", renew)
        event.remove(Pool, "connect", refuse)
        event.remove(Engine, "do_connect", lead)


def for_one_database(environment: EnvironmentContext) -> EnvironmentContext:
    """Have what ``env.py`` knows as ``context`` refuse a connection that was meant for another database than the first.

    All are led to one, where the second waits, for ever, for the version table that the first is about to commit.
    """
    configure, seen = environment.configure, list[tuple[Any, ...]]()

    def configure_one(connection: Connection | None = None, *args: Any, **options: Any) -> None:
        meant = connection.info.get(_MEANT) if connection is not None else None
        if meant and seen and meant not in seen:
            raise SeveralDatabases(
                f"The project's env.py migrates several databases ({_told(seen[0])}, {_told(meant)}); dupe-audit check "
                "knows one. Let env.py leave out all but one of them, say by an -x argument, and check one at a time."
            )
        if meant:
            seen.append(meant)
        configure(connection, *args, **options)

    # Not by a subclass: Alembic's module finds its proxies by the class itself.
    environment.configure = configure_one  # type: ignore[method-assign]
    return environment


def _told(meant: tuple[Any, ...]) -> str:
    host, port, name = meant
    return f"{name or 'the default one'} on {host or 'the default host'}" + (f":{port}" if port else "")


def _ask(connection: Any, query: str) -> Any:
    cursor = connection.cursor()
    cursor.execute(query)
    value = cursor.fetchone()[0]
    cursor.close()
    connection.rollback()
    return value
