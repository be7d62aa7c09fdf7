"""The finding that a table does not exist, with the names that may have been meant."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from dupe_audit.findings import Finding, finding, similar
from dupe_audit.model import UniqueKey
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import literal, statement


def missing_table(connection: Connection, key: UniqueKey, *, subject: str | None = None) -> Finding:
    """Return the finding that the key's table does not exist, with tables of its schema that have a similar name.

    Args:
        subject: what the message calls the key; None for its table and elements.

    Raises:
        sqlalchemy.exc.DBAPIError: the connection failed.
    """
    absent = finding("table-missing", subject or str(key))
    tables = execute(connection, statement("tables_in_reach", schema_name=literal(key.schema))).scalars()
    return replace(absent, help=similar(key.table, map(str, tables)) + absent.help)
