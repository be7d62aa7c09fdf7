"""Lead every connection that a project's ``env.py`` opens to the scratch database, whatever URL it has.

So the configured database cannot be touched, and its URL need not be known.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event, make_url
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.pool import Pool

from dupe_audit.errors import DupeAuditError

#: what a project may say of a session beyond where it is; all else in its URL is about the server it does not go to
_KEPT = ("options", "server_settings", "prepare_threshold", "autocommit", "row_factory", "application_name")


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

    def refuse(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("SELECT pg_catalog.current_database()")
        name = cursor.fetchone()[0]
        cursor.close()
        connection.rollback()
        if name != target.database:
            connection.close()
            raise DupeAuditError(
                "The project's env.py opens its connection by itself (creator=…), and not to the scratch database. "
                "Nothing was run on it. Let it use create_engine(url) when DATABASE_URL is set."
            )

    event.listen(Engine, "do_connect", lead)
    event.listen(Pool, "connect", refuse)
    try:
        yield
    finally:
        event.remove(Pool, "connect", refuse)
        event.remove(Engine, "do_connect", lead)
