"""Which expressions cannot be computed for some rows, such as a cast of bad text, and for how many rows."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.errors import DupeAuditError
from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.model import CleanupRule, FailedRow, UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.elements import aliased
from dupe_audit.postgres.sqlstates import ABOUT_A_ROW, CLASS_CARDINALITY, CLASS_CASE_NOT_FOUND, about_a_row, sqlstate
from dupe_audit.preflight.samples import row_columns
from dupe_audit.statements import fill_known, template, text_array

#: rows that are shown
SHOWN_ROWS = 10
#: SQLSTATE classes of expression errors, which can also come from elsewhere: names and privileges, features, routines
_OF_EXPRESSIONS = (CLASS_CASE_NOT_FOUND, CLASS_CARDINALITY, "42", "0A", "2F", "38", "39")


def may_be_an_expression(error: DBAPIError, key: UniqueKey, rule: CleanupRule) -> bool:
    """Return whether an error of a count can come from an expression of the key, its predicate or the order."""
    has_expression = not key.is_plain or any(part.expression for part in rule.orderings)
    return has_expression and (about_a_row(error) or (sqlstate(error) or "").startswith(_OF_EXPRESSIONS))


def failing_rows(
    connection: Connection,
    relation: Relation,
    key: UniqueKey,
    rule: CleanupRule,
    fragments: Mapping[str, str],
    *,
    error: DBAPIError,
    show_keys: bool,
) -> tuple[list[Finding], tuple[FailedRow, ...]]:
    """Count the rows for which an expression fails; return a finding for each expression, and some of the rows.

    No value of a row is printed. The server's message can contain values, so it is read only with *show_keys*.

    Args:
        error: what a count has met.

    Raises:
        DupeAuditError: no row fails now.
        sqlalchemy.exc.DBAPIError: *error*, if it was about something else.
    """
    queries = _queries(relation, key, rule)
    columns = row_columns(connection, relation, rule)
    holes = {
        "queries": text_array(queries.values()),
        "query_count": str(len(queries)),
        "shown_rows": str(SHOWN_ROWS if show_keys else 0),
        "identity": columns.identity_sql("t"),
    }
    execute(connection, fill_known(template("failing_rows"), fragments, **holes))
    query = "SELECT pg_catalog.current_setting('dupe_audit.failing_rows')"
    result = json.loads(execute(connection, query).scalar_one())
    findings = [
        finding("expression-fails", f"{sql} fails for {quantity(count, 'row')} (SQLSTATE {code})", table=relation.name)
        for sql, count, code in zip(queries, result["counts"], result["codes"], strict=True)
        if count
    ]
    if not findings and not (sqlstate(error) or "").startswith(ABOUT_A_ROW):
        raise error
    if not findings:
        raise DupeAuditError(
            f"An expression failed with SQLSTATE {sqlstate(error)} while {key} was counted, but fails for no row now. "
            "Run the same command again."
        )
    texts = list(queries)
    return findings, tuple(
        FailedRow(
            expression=texts[row["number"] - 1],
            identity=dict(zip(columns.identity, row["identity"], strict=True)),
            message=row["message"],
        )
        for row in result["rows"]
    )


def _queries(relation: Relation, key: UniqueKey, rule: CleanupRule) -> dict[str, str]:
    """Return, by the text of each expression, the query that computes it for one row; the predicate comes first."""
    source = aliased(relation.table, relation.schema)

    def of_row(sql: str) -> str:
        value = f"CASE WHEN ({key.where}) THEN ({sql}) END" if key.where else f"({sql})"
        return f"SELECT {value} FROM {source} WHERE ctid OPERATOR(pg_catalog.=) $1"

    queries = (
        {key.where: f"SELECT ({key.where}) FROM {source} WHERE ctid OPERATOR(pg_catalog.=) $1"} if key.where else {}
    )
    parts = [*filter(None, key.expressions), *(part.expression for part in rule.orderings if part.expression)]
    return queries | {sql: of_row(sql) for sql in parts}
