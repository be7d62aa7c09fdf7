"""Redirect every connection that a project's ``env.py`` opens to the scratch database, whatever URL it has.

This keeps the configured database untouched, and its URL need not be known.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic.runtime.environment import EnvironmentContext
from sqlalchemy import Connection, Engine, event, make_url
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, Pool

from dupe_audit.errors import DupeAuditError
from dupe_audit.statements import statement

#: connection arguments about the session, which are kept; all others concern the project's own server
_SESSION_ARGUMENTS = (
    "options",
    "server_settings",
    "prepare_threshold",
    "autocommit",
    "row_factory",
    "application_name",
)

#: key in a pooled connection's ``info``: the database that it is connected to
_DATABASE = "dupe_audit_database"

#: key in a pooled connection's ``info``: host, port and name of the database that the project meant
_MEANT = "dupe_audit_meant"


class SeveralDatabases(DupeAuditError):
    """The project's ``env.py`` migrates several databases; the check has only one."""


@contextmanager
def redirected(url: str) -> Iterator[None]:
    """Redirect this process's new SQLAlchemy connections to *url* within the block.

    An engine with its own ``creator=`` is not redirected. Its connection is refused before its first statement unless
    it is connected to the same database.
    """
    target = make_url(url)

    def redirect(
        dialect: Dialect, record: ConnectionPoolEntry | None, args: list[Any], parameters: dict[str, Any]
    ) -> None:
        if dialect.name != "postgresql":
            raise DupeAuditError(f"The project's env.py connects to {dialect.name}; only PostgreSQL is supported.")
        positional, options = dialect.create_connect_args(target.set(drivername=f"postgresql+{dialect.driver}"))
        if record:
            name = parameters.get("dbname") or parameters.get("database")
            record.info[_MEANT] = (parameters.get("host"), parameters.get("port"), name)
        session_settings = {name: parameters[name] for name in _SESSION_ARGUMENTS if name in parameters}
        args[:] = positional
        parameters.clear()
        parameters.update({**session_settings, **options})

    def refuse(connection: Any, record: ConnectionPoolEntry) -> None:
        record.info[_DATABASE] = name = _ask(connection, statement("scratch/current_database"))
        if name != target.database:
            connection.close()
            raise DupeAuditError(
                "The project's env.py opens its own connection (creator=…), which is not to the scratch database. "
                "Nothing was executed on it. Let env.py use create_engine(url) if DATABASE_URL is set."
            )

    def renew(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        # An engine that a module of the project keeps may still have connections to the previous scratch database.
        try:
            alive = record.info.get(_DATABASE) == target.database and _ask(connection, "SELECT 1") == 1
        except Exception:  # noqa: BLE001 - whatever the driver raises, the connection is unusable
            alive = False
        if not alive:
            raise DisconnectionError("a connection to an earlier scratch database")

    event.listen(Engine, "do_connect", redirect)
    event.listen(Pool, "connect", refuse)
    event.listen(Pool, "checkout", renew)
    try:
        yield
    finally:
        event.remove(Pool, "checkout", renew)
        event.remove(Pool, "connect", refuse)
        event.remove(Engine, "do_connect", redirect)


def for_one_database(environment: EnvironmentContext) -> EnvironmentContext:
    """Make ``context.configure()`` of ``env.py`` refuse a connection meant for a second database.

    All connections are redirected to one database, where the second would wait forever for the version table that the
    first has not committed yet.

    Returns:
        The same *environment*.

    Raises:
        SeveralDatabases: later, from ``context.configure()``.
    """
    configure, databases = environment.configure, list[tuple[Any, ...]]()

    def configure_first(connection: Connection | None = None, *args: Any, **options: Any) -> None:
        meant = connection.info.get(_MEANT) if connection is not None else None
        if meant and databases and meant not in databases:
            raise SeveralDatabases(
                f"The project's env.py migrates several databases ({_described(databases[0])}, {_described(meant)}); "
                "dupe-audit check supports one. Let env.py skip all but one of them, for example with an -x argument, "
                "and check one at a time."
            )
        if meant:
            databases.append(meant)
        configure(connection, *args, **options)

    # Not with a subclass, because Alembic's module looks up its proxies by the class itself.
    environment.configure = configure_first  # type: ignore[method-assign]
    return environment


def _described(meant: tuple[Any, ...]) -> str:
    host, port, name = meant
    return f"{name or 'the default database'} on {host or 'the default host'}" + (f":{port}" if port else "")


def _ask(connection: Any, query: str) -> Any:
    cursor = connection.cursor()
    cursor.execute(query)
    value = cursor.fetchone()[0]
    cursor.close()
    connection.rollback()
    return value
