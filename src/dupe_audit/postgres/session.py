"""Transactions and settings that no default of the role, the database or the URL can change.

Everything is executed on the caller's one connection, in autocommit, with explicit transactions: a second connection
that holds anything can hang our own index build, and the deadlock detector cannot see it (measured).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError

from dupe_audit.errors import WrongUsage
from dupe_audit.model import IDLE_LIMIT, LOCK_TIMEOUT, READ_LOCK_TIMEOUT
from dupe_audit.postgres.driver import execute, require_autocommit, tidy
from dupe_audit.postgres.interrupt import interruptible
from dupe_audit.postgres.planner import memory_setting
from dupe_audit.postgres.sqlstates import INVALID_PARAMETER_VALUE, reason, sqlstate
from dupe_audit.statements import literal, statement

#: timeouts of a role or database that would end a step inside a statement or between two
UNHURRIED = {
    "statement_timeout": "0",
    "idle_session_timeout": "0",
    "default_transaction_isolation": "read committed",
    "transaction_timeout": "0",
}

#: for a statement with a strong lock that is its own transaction: the lock and its commit travel in one message, so no
#: frozen client and no absent standby keeps the lock
AT_ONCE = {
    "synchronous_commit": "local",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
}

#: without an operator, because the search path decides what an operator means; 0 is no limit
_IDLE = (
    "pg_catalog.set_config('idle_in_transaction_session_timeout', "
    "CASE WHEN pg_catalog.texteq(pg_catalog.current_setting('idle_in_transaction_session_timeout'), '0') "
    f"THEN '{IDLE_LIMIT}' ELSE extract(milliseconds FROM least(interval '{IDLE_LIMIT}', "
    "pg_catalog.current_setting('idle_in_transaction_session_timeout')::interval))::pg_catalog.int8::pg_catalog.text "
    "END, true)"
)


#: ``pg_catalog`` as an element of a search path
_PG_CATALOG = re.compile(r'(^|,)\s*"?pg_catalog"?\s*(?=,|$)', re.IGNORECASE)


@contextmanager
def transaction(
    connection: Connection,
    *,
    lock_timeout: str = LOCK_TIMEOUT,
    isolation: str = "READ COMMITTED",
    read_only: bool = False,
    local: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Open one transaction, with an outcome that no default can change (H19, H56, H79).

    Args:
        lock_timeout: how long a statement may wait for a lock, as PostgreSQL writes durations.
        isolation: level, as SQL writes it.
        read_only: whether it may only read.
        local: further settings for this transaction.
    """
    settings = {
        "lock_timeout": lock_timeout,
        "statement_timeout": "0",
        # Rows that a policy hides would be missed in silence; with "off" the server raises an error instead (H111).
        "row_security": "off",
        **(local or {}),
    }
    execute(connection, f"BEGIN ISOLATION LEVEL {isolation} {'READ ONLY' if read_only else 'READ WRITE'}")
    try:
        execute(connection, f"SELECT {_IDLE}, {_calls(settings, local=True)}")
        yield
        execute(connection, "COMMIT")
    except BaseException:
        tidy(connection, "ROLLBACK")
        raise


def snapshot(connection: Connection, work_mem: str | None = None) -> AbstractContextManager[None]:
    """Open one transaction that reads everything as of one moment.

    Args:
        work_mem: memory for its sorts, as PostgreSQL writes sizes; None for the server's setting.
    """
    return transaction(
        connection,
        lock_timeout=READ_LOCK_TIMEOUT,
        isolation="REPEATABLE READ",
        read_only=True,
        local=memory_setting(work_mem),
    )


def _calls(settings: Mapping[str, str], *, local: bool) -> str:
    return ", ".join(
        f"pg_catalog.set_config({literal(name)}, {literal(value)}, {'true' if local else 'false'})"
        for name, value in settings.items()
    )


def _set_config(settings: Mapping[str, str], *, local: bool) -> str:
    return f"SELECT {_calls(settings, local=local)}"


@contextmanager
def deadline(connection: Connection, until: float) -> Iterator[None]:
    """Let the server end any statement of the open transaction that runs after a moment.

    Args:
        until: the moment, as ``time.monotonic`` counts.
    """

    def limit(_connection: Connection, cursor: Any, *_: object) -> None:
        # Zero would mean no limit.
        cursor.execute(f"SET LOCAL statement_timeout = {max(1, int(1000 * (until - time.monotonic())))}")

    event.listen(connection, "before_cursor_execute", limit)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", limit)


@contextmanager
def settings(connection: Connection, values: Mapping[str, str], *, local: bool = False) -> Iterator[None]:
    """Change settings of the session, or with *local* of the transaction; reset them on every exit.

    Settings that this server does not have are left out.
    """
    names = ", ".join(f"pg_catalog.current_setting({literal(name)}, true) AS {name}" for name in values)
    current = execute(connection, f"SELECT {names}").mappings().one()
    previous = {name: value for name, value in current.items() if value is not None}
    try:
        execute(connection, _set_config({name: values[name] for name in previous}, local=local))
        yield
    finally:
        tidy(connection, _set_config(previous, local=local))


def current_setting(connection: Connection, name: str) -> str:
    """Return the value of an existing setting of the session.

    Raises:
        sqlalchemy.exc.DBAPIError: the setting does not exist.
    """
    return str(execute(connection, statement("current_setting", setting=literal(name))).scalar_one())


def execute_at_once(connection: Connection, *statements: str, lock_timeout: str) -> None:
    """Execute statements that take a strong lock as one transaction, in one message to the server.

    Args:
        lock_timeout: how long a statement may wait for a lock, as PostgreSQL writes durations.
    """
    sql = statements[0]
    if len(statements) > 1:
        # Not a string of several statements, because some drivers prepare each, and those cannot be prepared.
        body = "BEGIN\n" + "".join(f"{text};\n" for text in statements) + "END"
        # Dollar quotes leave the statements readable, unless a name contains them.
        sql = statement("at_once", body=literal(body) if "$at_once$" in body else f"$at_once${body}$at_once$")
    with settings(connection, {**AT_ONCE, "lock_timeout": lock_timeout}):
        execute(connection, sql)


def trust_path(connection: Connection) -> str | None:
    """Let operators be found in ``pg_catalog`` before any other schema; return the path to go back to, if it changed.

    A path such as ``app, pg_catalog`` prefers whatever operator somebody created in ``app``. Statements name
    functions, types and relations with their schema, but operators as everybody writes them. Without ``pg_catalog``
    in the path, the server looks there first (H199).
    """
    path = current_setting(connection, "search_path")
    if (trusted := without_pg_catalog(path)) == path:
        return None
    execute(connection, _set_config({"search_path": trusted}, local=False))
    return path


def without_pg_catalog(path: str) -> str:
    """Return a search path without ``pg_catalog``, which the server then searches first."""
    return _PG_CATALOG.sub("", path).lstrip(", ")


@contextmanager
def trusted_path(connection: Connection) -> Iterator[None]:
    """Let operators be found in ``pg_catalog`` before any other schema until the block ends."""
    path = trust_path(connection)
    try:
        yield
    finally:
        if path is not None:
            tidy(connection, _set_config({"search_path": path}, local=False))


def require_valid(connection: Connection, values: Mapping[str, str]) -> None:
    """Try settings before anything is written.

    Raises:
        WrongUsage: the server does not accept one of them.
    """
    try:
        with transaction(connection, read_only=True, local=values):
            pass
    except DBAPIError as error:
        if sqlstate(error) != INVALID_PARAMETER_VALUE:
            raise
        raise WrongUsage(f"The server does not accept a setting: {reason(error)}. Nothing was changed.") from None


@contextmanager
def step(connection: Connection) -> Iterator[None]:
    """Prepare the connection for a step: interruptible, and under no timeout of the role (H56).

    Raises:
        WrongUsage: the connection is not in autocommit mode.
    """
    require_autocommit(connection)
    with interruptible(connection), trusted_path(connection), settings(connection, UNHURRIED):
        yield
