"""Which expressions cannot be computed for some rows, such as a cast of bad text, and for how many rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.errors import DupeAuditError
from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.model import CleanupRule, FailedRow, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.session import current_setting, snapshot, step
from dupe_audit.postgres.sqlstates import about_a_row, about_an_expression, quotes_values, sqlstate
from dupe_audit.postgres.trees import fragments_by_table
from dupe_audit.preflight.samples import RowColumns, row_columns
from dupe_audit.preflight.search_path import path_findings, where_true
from dupe_audit.statements import fill_known, ident, statement, template, text_array

#: rows that are shown
SHOWN_ROWS = 10


def may_be_an_expression(error: DBAPIError, key: UniqueKey, rule: CleanupRule) -> bool:
    """Return whether an error of a step can come from an expression of the key, its predicate or the order."""
    has_expression = not key.is_plain or any(part.expression for part in rule.orderings)
    return has_expression and (about_a_row(error) or about_an_expression(error))


def failures(connection: Connection, key: UniqueKey, rule: CleanupRule, error: DBAPIError) -> list[Finding]:
    """Return which expressions fail, and for how many rows, after a step that computes them has failed.

    Args:
        connection: in autocommit.
        key: of an existing table.
        error: of the step; it can quote values of a row.

    Raises:
        DupeAuditError: *error* quotes values, and no expression fails now.
        sqlalchemy.exc.DBAPIError: *error*, if it is about something else; or the connection failed.
    """
    if not may_be_an_expression(error, key, rule):
        raise error
    with step(connection):
        key, relation = catalog.require(connection, key)
        with snapshot(connection):
            findings = _failing_rows(connection, relation, key, rule, show_keys=False)[0]
        findings = findings or path_findings(connection, key, relation)
    if not any(finding.severity == "error" for finding in findings):
        raise _unexplained(error, key)
    return findings


def require_failing(
    connection: Connection, key: UniqueKey, relation: Relation, rule: CleanupRule, *, error: DBAPIError, show_keys: bool
) -> tuple[list[Finding], tuple[FailedRow, ...]]:
    """Count the rows for which an expression fails; return a finding for each that does, and some of the rows.

    No value of a row is printed. The server's message can contain values, so it is read only with *show_keys*.

    Args:
        connection: in a transaction.
        error: what a count has met.

    Raises:
        DupeAuditError: no row fails now.
        sqlalchemy.exc.DBAPIError: *error*, if it was about something else.
    """
    findings, rows = _failing_rows(connection, relation, key, rule, show_keys=show_keys)
    if not findings:
        raise _unexplained(error, key)
    return findings, rows


def _unexplained(error: DBAPIError, key: UniqueKey) -> Exception:
    """Return what to raise if an expression may have failed, but fails for no row now."""
    if not quotes_values(error):
        return error
    return DupeAuditError(
        f"An error with SQLSTATE {sqlstate(error)} stopped the work on {key}, but no expression fails for any row now. "
        "It came from a row that has changed since, or from a trigger. The server's log has its text, which is not "
        "printed here, because it can contain values of a row. Run the same command again."
    )


def _failing_rows(
    connection: Connection, relation: Relation, key: UniqueKey, rule: CleanupRule, *, show_keys: bool
) -> tuple[list[Finding], tuple[FailedRow, ...]]:
    columns = row_columns(connection, relation, rule)
    counts: Counter[str] = Counter()
    codes: dict[str, str] = {}
    rows: list[FailedRow] = []
    for table, fragments in fragments_by_table(connection, relation, key, rule):
        queries = _queries(f"ONLY {table.name} AS {ident(relation.table)}", key, rule)
        holes = {
            "queries": text_array(queries.values()),
            "query_count": str(len(queries)),
            "shown_rows": str(SHOWN_ROWS - len(rows) if show_keys else 0),
            "identity": columns.identity_sql("t"),
        }
        execute(connection, fill_known(template("failing_rows"), fragments, **holes))
        result = json.loads(current_setting(connection, "dupe_audit.failing_rows"))
        texts = list(queries)
        for sql, count, code in zip(texts, result["counts"], result["codes"], strict=True):
            if count:
                counts[sql] += count
                codes[sql] = code
        rows += [_failed_row(row, texts, columns) for row in result["rows"]]
    findings = [
        finding(
            "expression-fails", f"{sql} fails for {quantity(count, 'row')} (SQLSTATE {codes[sql]})", table=relation.name
        )
        for sql, count in counts.items()
    ]
    return findings, tuple(rows)


def _failed_row(row: Mapping[str, Any], texts: Sequence[str], columns: RowColumns) -> FailedRow:
    return FailedRow(
        expression=texts[row["number"] - 1],
        identity=dict(zip(columns.identity, row["identity"], strict=True)),
        message=row["message"],
    )


def _queries(source: str, key: UniqueKey, rule: CleanupRule) -> dict[str, str]:
    """Return, by the text of each expression, the query that computes it for one row; the predicate comes first.

    Args:
        source: the FROM clause in which the expressions are read.
    """
    values = {key.where: f"({key.where})"} if key.where else {}
    parts = [*filter(None, key.expressions), *(part.expression for part in rule.orderings if part.expression)]
    values |= {sql: where_true(sql, key.where) for sql in parts}
    return {sql: statement("value_of_row", value=value, source=source) for sql, value in values.items()}
