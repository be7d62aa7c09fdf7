"""Which privilege a role lacks, in the words of GRANT."""

from __future__ import annotations

from sqlalchemy import Connection

from dupe_audit.postgres.driver import execute
from dupe_audit.statements import literal, statement


def lacking_privilege(connection: Connection, schema: str, table: str) -> str | None:
    """Return the privilege without which this role can read nothing of a table; None if it has it."""
    sql = statement("lacking_privilege", schema_name=literal(schema), relation_name=literal(table))
    lacking: str | None = execute(connection, sql).scalar()
    return lacking
