"""Compare an index with its table by the extension amcheck."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.findings import Finding, finding
from dupe_audit.model import IndexState
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


def compare_with_table(connection: Connection, state: IndexState) -> list[Finding]:
    """Compare the index with the table by amcheck, if it is installed; it also finds duplicates (PostgreSQL 17+)."""
    amcheck = execute(connection, statement("amcheck")).one_or_none()
    if amcheck is None:
        return [finding("amcheck-missing")]
    options = "heapallindexed => true" + (", checkunique => true" if amcheck.checks_unique else "")
    try:
        with transaction(connection, lock_timeout="5s", read_only=True):
            sql = statement("amcheck_index", function=amcheck.name, index=str(state.oid), options=options)
            execute(connection, sql)
    except DBAPIError as error:
        if sqlstate(error) in (INDEX_CORRUPTED, DATA_CORRUPTED):
            return [finding("index-corrupt", reason(error))]
        if sqlstate(error) == INSUFFICIENT_PRIVILEGE:
            return [finding("amcheck-missing")]
        # PostgreSQL 15.20 executes amcheck under a search path of its own; a function of the index can fail, or raise.
        if about_an_expression(error) or (sqlstate(error) or "").startswith((CLASS_DATA, CLASS_RAISED)):
            text = (
                "amcheck cannot compute an expression of the index without the session's search path; the index was "
                "judged by the catalog and a count alone."
            )
            return [replace(finding("amcheck-missing"), message=text)]
        raise
    return []
