"""Compare an index with its table by the extension amcheck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.findings import Finding, finding
from dupe_audit.model import READ_LOCK_TIMEOUT, IndexState
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.session import transaction
from dupe_audit.postgres.sqlstates import (
    CLASS_DATA,
    CLASS_RAISED,
    DATA_CORRUPTED,
    INDEX_CORRUPTED,
    INSUFFICIENT_PRIVILEGE,
    about_an_expression,
    reason,
    sqlstate,
)
from dupe_audit.statements import statement


class Amcheck(NamedTuple):
    """The function of amcheck that this database has."""

    function: str  #: qualified and quoted
    options: str  #: its other arguments


def find_amcheck(connection: Connection) -> Amcheck | None:
    """Return the function of amcheck; None if the extension is not installed."""
    amcheck = execute(connection, statement("amcheck")).one_or_none()
    if amcheck is None:
        return None
    # On PostgreSQL 17 and later, it also finds duplicates.
    return Amcheck(amcheck.name, "heapallindexed => true" + (", checkunique => true" if amcheck.checks_unique else ""))


def compare_with_table(connection: Connection, state: IndexState) -> list[Finding]:
    """Compare an index with its table by amcheck, if it is installed."""
    amcheck = find_amcheck(connection)
    return compare(connection, amcheck, [state.oid]) if amcheck else [finding("amcheck-missing")]


def compare(connection: Connection, amcheck: Amcheck, indexes: Sequence[int]) -> list[Finding]:
    """Compare indexes, given by their oids, with their tables; return the findings about the first that fails."""
    try:
        with transaction(connection, lock_timeout=READ_LOCK_TIMEOUT, read_only=True):
            oids = ", ".join(map(str, indexes))
            execute(
                connection, statement("amcheck_index", function=amcheck.function, indexes=oids, options=amcheck.options)
            )
    except DBAPIError as error:
        if sqlstate(error) in (INDEX_CORRUPTED, DATA_CORRUPTED):
            return [finding("index-corrupt", reason(error))]
        if sqlstate(error) == INSUFFICIENT_PRIVILEGE:
            return [finding("amcheck-missing")]
        # PostgreSQL 15.20 executes amcheck under its own search path; a function of the index can fail, or raise.
        if about_an_expression(error) or (sqlstate(error) or "").startswith((CLASS_DATA, CLASS_RAISED)):
            text = (
                "amcheck cannot compute an expression of the index without the session's search path; the index was "
                "judged by the catalog and a count alone."
            )
            return [replace(finding("amcheck-missing"), message=text)]
        raise
    return []
