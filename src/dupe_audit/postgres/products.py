"""Recognise servers that speak PostgreSQL's protocol but are not PostgreSQL, by the text of ``version()``."""

from __future__ import annotations

import re

from sqlalchemy import Connection

from dupe_audit.findings import Finding, FindingId, finding
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import statement

#: what their version() looks like, up to their own version number
_PRODUCTS: tuple[tuple[FindingId, re.Pattern[str]], ...] = (
    ("yugabytedb", re.compile(r"^PostgreSQL \S*?-YB-(?P<version>[\w.-]*)")),
    ("cockroachdb", re.compile(r"^CockroachDB(?: [A-Z]+)?(?: v(?P<version>[\w.-]*))?")),
)


def product_finding(version: str) -> Finding | None:
    """Return the finding about a server's product; None if it is PostgreSQL.

    Args:
        version: what its ``version()`` returns.
    """
    for id_, pattern in _PRODUCTS:
        if match := pattern.search(version):
            return finding(id_, match["version"] or "unknown version")
    return None


def product_of(connection: Connection) -> Finding | None:
    """Return the finding about the product of the server; None if it is PostgreSQL."""
    return product_finding(str(execute(connection, statement("version")).scalar_one()))
