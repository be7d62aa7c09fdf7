"""Why rows cannot be changed as a rule says, found before anything is counted or moved."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.findings import Finding, finding
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.session import transaction
from dupe_audit.postgres.sqlstates import reason, sqlstate
from dupe_audit.preflight.expressions import OF_EXPRESSIONS
from dupe_audit.statements import fill_known, statement, template, text_array


def change_findings(connection: Connection, key: UniqueKey, relation: Relation, rule: CleanupRule) -> list[Finding]:
    """Return why the columns that a rule changes cannot be changed, or their new values cannot be computed.

    Args:
        connection: in autocommit, outside of a transaction: a value that cannot be read would end it.
        key: of that table.
    """
    if not rule.changes_rows:
        return []
    columns = [*(change.column for change in rule.changes), *(merge.column for merge in rule.merges)]
    names = set(execute(connection, statement("relation_columns", relid=str(relation.relid))).scalars())
    if missing := [column for column in columns if column not in names]:
        return [finding("column-missing", column, table=relation.name) for column in missing]
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
    holes = catalog.fragments(connection, relation, key, rule)
    holes |= catalog.change_fragments(connection, relation, rule)
    name, option = ("explain_amended", "set_") if rule.amends else ("explain_merged", "merge")
    try:
        with transaction(connection, lock_timeout="5s", read_only=True):
            plan = execute(connection, fill_known(template(name), holes)).scalars().all()
    except DBAPIError as error:
        if not (sqlstate(error) or "").startswith(OF_EXPRESSIONS):
            raise
        hidden = f"SELECT pg_catalog.row_security_active({relation.relid}::pg_catalog.oid)"
        if execute(connection, hidden).scalar_one():
            return []  # the finding about row security is the reason
        return [finding("expression-invalid", f"{option}: {reason(error)}", table=relation.name)]
    if any("ProjectSet" in line for line in plan):
        several = "set-returning functions are not allowed, because a column has one value"
        return [finding("expression-invalid", f"{option}: {several}", table=relation.name)]
    return []
