"""One statement at a time through whatever PostgreSQL driver the user's ``env.py`` has."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, CursorResult
from sqlalchemy.exc import DBAPIError

from dupe_audit.errors import WrongUsage
from dupe_audit.postgres.interrupt import interrupt
from dupe_audit.postgres.sqlstates import QUERY_CANCELED, sqlstate
from dupe_audit.statements import literal


def execute(connection: Connection, sql: str) -> CursorResult[Any]:
    """Execute one complete statement through the simple protocol, whatever the driver.

    Raises:
        Interrupted: the user stopped the work; statements that clean up can follow.
        WrongUsage: a name in it does not exist in the connection's encoding.
        sqlalchemy.exc.DBAPIError: as the driver reports; ``sqlstate`` reads its code.
    """
    interrupt.check()
    interrupt.busy = True
    try:
        return connection.exec_driver_sql(sql, execution_options={"no_parameters": True})
    except DBAPIError as error:
        if sqlstate(error) == QUERY_CANCELED:
            interrupt.check(error)
        raise
    except UnicodeEncodeError as error:
        raise _unencodable(error) from None
    finally:
        interrupt.busy = False


def require_encodable(connection: Connection, text: str) -> None:
    """Refuse a text, such as a comment that is sent at the end, which the connection's encoding lacks.

    Raises:
        WrongUsage: it cannot be sent.
    """
    execute(connection, f"SELECT {literal(text)}")


def _unencodable(error: UnicodeEncodeError) -> WrongUsage:
    character = error.object[error.start : error.end]
    return WrongUsage(
        f"{character!r} cannot be sent to the server: the connection's encoding ({error.encoding}) lacks it. "
        "Use other names and comments, or, if the database's own encoding has it, connect with client_encoding=utf8."
    )


def tidy(connection: Connection, sql: str) -> None:
    """Execute a statement that cleans up on the way out; an interrupt waits for it.

    Errors are ignored: a lost connection has lost its locks and settings too.
    """
    with suppress(Exception):
        connection.exec_driver_sql(sql, execution_options={"no_parameters": True})


def commits_by_itself(connection: Connection) -> bool:
    """Return whether the driver is known to be in autocommit mode; ``get_isolation_level()`` does not show it."""
    # SQLAlchemy's adapter of an asynchronous driver knows, the driver's own connection may not.
    return getattr(connection.connection.dbapi_connection, "autocommit", False) is True


def require_autocommit(connection: Connection) -> None:
    """Refuse a connection whose driver opens transactions by itself.

    Raises:
        WrongUsage: the connection is not in autocommit mode (H166).
    """
    if getattr(connection.connection.driver_connection, "autocommit", None) is False:
        raise WrongUsage(
            "The connection is not in autocommit mode. Give it execution_options(isolation_level='AUTOCOMMIT')."
        )
