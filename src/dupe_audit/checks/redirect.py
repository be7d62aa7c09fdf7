"""Lead every connection that a project's ``env.py`` opens to the scratch database, whatever URL it has.

So the configured database cannot be touched, and its URL need not be known.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event, make_url
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import ArgumentError, DisconnectionError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry, Pool

from dupe_audit.errors import DupeAuditError

#: what a project may say of a session beyond where it is; all else in its URL is about the server it does not go to
_KEPT = ("options", "server_settings", "prepare_threshold", "autocommit", "row_factory", "application_name")

#: under which a pooled connection's ``info`` has the database that it came to
_DATABASE = "dupe_audit_database"


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

    def lead(dialect: Dialect, _record: object, args: list[Any], parameters: dict[str, Any]) -> None:
        if dialect.name != "postgresql":
            raise DupeAuditError(f"The project's env.py connects to {dialect.name}; this check knows PostgreSQL alone.")
        there, options = dialect.create_connect_args(target.set(drivername=f"postgresql+{dialect.driver}"))
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


def _ask(connection: Any, query: str) -> Any:
    cursor = connection.cursor()
    cursor.execute(query)
    value = cursor.fetchone()[0]
    cursor.close()
    connection.rollback()
    return value
