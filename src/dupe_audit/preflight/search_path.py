"""Expressions that depend on the search path: the server builds and restores indexes under another one."""

from __future__ import annotations

import json
from dataclasses import replace

from sqlalchemy import Connection

from dupe_audit.findings import Finding, finding
from dupe_audit.model import READ_LOCK_TIMEOUT, UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.elements import aliased
from dupe_audit.postgres.session import current_setting, transaction
from dupe_audit.postgres.sqlstates import NAMES_NOT_FOUND, OF_AN_EXPRESSION
from dupe_audit.statements import literal, statement, text_array

#: from this version on, the server builds an index under ``pg_catalog, pg_temp``
RESTRICTED_FROM = 170000


def path_findings(connection: Connection, key: UniqueKey, relation: Relation) -> list[Finding]:
    """Return which expressions of a key work only under the session's search path.

    It computes them for every row of the predicate, in a read-only transaction. A function that the planner merges
    into the expression is not found this way if other functions have its name (see ``trial``).

    Args:
        connection: in autocommit.
        key: of that table.

    Raises:
        sqlalchemy.exc.DBAPIError: the connection or a permission failed.
    """
    queries = _queries(key, relation)
    if not queries:
        return []
    holes = {"queries": text_array(queries.values()), "texts": literal(" ".join(queries))}
    with transaction(connection, lock_timeout=READ_LOCK_TIMEOUT, read_only=True, local={"jit": "off"}):
        execute(connection, statement("path_problems", **holes))
        problems = json.loads(current_setting(connection, "dupe_audit.path_problems"))
    restricted = builds_are_restricted(connection)
    texts = list(queries)
    reasons = [
        reason_of(texts[problem["number"] - 1], problem["code"], problem["message"])
        for problem in problems
        if problem["code"].startswith(OF_AN_EXPRESSION)
    ]
    return [path_finding(reason, relation, restricted=restricted) for reason in reasons]


def builds_are_restricted(connection: Connection) -> bool:
    """Return whether this server builds indexes under its own search path."""
    return int(current_setting(connection, "server_version_num")) >= RESTRICTED_FROM


def path_finding(subject: str, relation: Relation, *, restricted: bool) -> Finding:
    """Return the finding about an expression; a warning if the server builds the index anyway."""
    error = finding("depends-on-search-path", subject, table=relation.name)
    if restricted:
        return error
    text = (
        f"An expression over {relation.name} depends on the search path: {subject}. This server builds the index, but "
        "then autovacuum cannot analyze the table, and a dump of it cannot be restored."
    )
    return replace(error, severity="warning", message=text)


def reason_of(sql: str, code: str, message: str) -> str:
    """Return why an expression fails: the server's message only if it names what was not found, never a value."""
    return f"{sql}: {message} (SQLSTATE {code})" if code in NAMES_NOT_FOUND else f"{sql} fails with SQLSTATE {code}"


def _queries(key: UniqueKey, relation: Relation) -> dict[str, str]:
    """Return, by the text of each expression, the query that computes it for all rows; the predicate comes first."""
    source = aliased(relation.table, relation.schema)
    values = {key.where: f"({key.where})"} if key.where else {}
    values |= {sql: where_true(sql, key.where) for sql in filter(None, key.expressions)}
    return {sql: statement("count_values", value=value, source=source) for sql, value in values.items()}


def where_true(sql: str, where: str | None) -> str:
    """Return SQL that computes an expression only for rows of which a predicate, if there is one, is true."""
    return f"CASE WHEN ({where}) THEN ({sql}) END" if where else f"({sql})"
