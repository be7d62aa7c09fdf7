"""Why rows cannot be changed as a rule says, found before anything is counted or moved."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.findings import Finding, finding, missing_column
from dupe_audit.model import READ_LOCK_TIMEOUT, Change, CleanupRule, Merge, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.session import transaction
from dupe_audit.postgres.sqlstates import GROUPING_ERROR, WINDOWING_ERROR, reason, sqlstate
from dupe_audit.preflight.expressions import OF_EXPRESSIONS
from dupe_audit.statements import fill_known, statement, template, text_array

#: why a new value is not that of one row, by SQLSTATE; the script has the same (offline_changes.sql)
OF_SEVERAL_ROWS = {
    GROUPING_ERROR: "an aggregate is allowed only in a subquery, because the value is computed for each row",
    WINDOWING_ERROR: "a window function is allowed only in a subquery, because the value is computed for each row",
}


def change_findings(connection: Connection, key: UniqueKey, relation: Relation, rule: CleanupRule) -> list[Finding]:
    """Return why the columns that a rule changes cannot be changed, or their new values cannot be computed.

    Args:
        connection: in autocommit, outside a transaction, which a value that cannot be read would end.
        key: of that table.
    """
    if not rule.changes_rows:
        return []
    columns = [*(change.column for change in rule.changes), *(merge.column for merge in rule.merges)]
    names = set(execute(connection, statement("relation_columns", relid=str(relation.relid))).scalars())
    if missing := [column for column in columns if column not in names]:
        return [missing_column(column, names, table=relation.name) for column in missing]
    unchangeable = statement("unchangeable", relid=str(relation.relid), columns=text_array(columns))
    problems = list(execute(connection, unchangeable).scalars())
    problems += [
        f"{merge.column} is in the key, and the rows of a group agree in it"
        for merge in rule.merges
        if merge.column in key.names
    ]
    findings = [finding("column-not-changeable", problem, table=relation.name) for problem in problems]
    return findings or _values(connection, key, relation, rule)


def _values(connection: Connection, key: UniqueKey, relation: Relation, rule: CleanupRule) -> list[Finding]:
    """Return why new values cannot be computed, a finding per column."""
    problem = _problem(connection, key, relation, rule)
    if problem is None:
        return []
    if execute(connection, statement("row_security_active", relid=str(relation.relid))).scalar_one():
        return []  # the finding about row security is the reason
    option = "set_" if rule.amends else "merge"
    changed: list[Change | Merge] = [*rule.changes, *rule.merges]
    alone = [replace(rule, **{"changes" if rule.amends else "merges": (each,)}) for each in changed]  # type: ignore[arg-type]
    problems = [
        (each.column, _problem(connection, key, relation, part)) for each, part in zip(changed, alone, strict=True)
    ]
    subjects = [f"{option}, column {column}: {text}" for column, text in problems if text]
    return [
        finding("expression-invalid", subject, table=relation.name) for subject in subjects or [f"{option}: {problem}"]
    ]


def _problem(connection: Connection, key: UniqueKey, relation: Relation, rule: CleanupRule) -> str | None:
    """Return why the server cannot read the new values of a rule; None if it can."""
    holes = catalog.fragments(connection, relation, key, rule)
    holes |= catalog.change_fragments(connection, relation, rule)
    name = "explain_amended" if rule.amends else "explain_merged"
    try:
        with transaction(connection, lock_timeout=READ_LOCK_TIMEOUT, read_only=True):
            plan = execute(connection, fill_known(template(name), holes)).scalars().all()
    except DBAPIError as error:
        if not (sqlstate(error) or "").startswith(OF_EXPRESSIONS):
            raise
        return (rule.amends and OF_SEVERAL_ROWS.get(str(sqlstate(error)))) or reason(error)
    # In set_, the server refuses it, as in any condition; a subquery may contain one.
    if rule.merges and any("ProjectSet" in line for line in plan):
        return "set-returning functions are not allowed, because a column has one value"
    return None
