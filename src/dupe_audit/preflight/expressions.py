"""What the server says against the expressions of a key and of an order, before anything is counted or moved."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.findings import Finding, finding
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.elements import aliased, describe, is_immutable, is_volatile, require_boolean
from dupe_audit.postgres.session import transaction
from dupe_audit.postgres.sqlstates import reason, sqlstate

#: classes of errors of an expression: syntax and names, values, what is not supported, and PL/pgSQL
_OF_EXPRESSIONS = ("42", "22", "0A", "P0")


def expression_findings(connection: Connection, key: UniqueKey, relation: Relation, rule: CleanupRule) -> list[Finding]:
    """Return why the expressions of a key, its predicate or an order cannot be used.

    Args:
        connection: in autocommit, outside of a transaction: an expression that cannot be read would end it.
        key: of that table.
    """
    source, findings = aliased(relation.table, relation.schema), []

    def examine(sql: str, check: Callable[[], Finding | None]) -> None:
        try:
            with transaction(connection, lock_timeout="5s", read_only=True, local={"constraint_exclusion": "on"}):
                objection = check()
        except DBAPIError as error:
            if not (sqlstate(error) or "").startswith(_OF_EXPRESSIONS):
                raise
            objection = finding("expression-invalid", f"{sql}: {reason(error)}", table=relation.name)
        if objection:
            findings.append(objection)

    def of_key(sql: str, *, is_predicate: bool) -> Finding | None:
        if is_predicate:
            require_boolean(connection, source, sql)
        describe(connection, source, [sql])
        immutable = is_immutable(connection, source, sql)
        return None if immutable else finding("not-immutable", sql, table=relation.name)

    def of_order(sql: str) -> Finding | None:
        describe(connection, source, [sql])
        return finding("volatile-order", sql) if is_volatile(connection, source, sql) else None

    for sql in filter(None, key.expressions):
        examine(sql, lambda sql=sql: of_key(sql, is_predicate=False))  # type: ignore[misc]
    if key.where:
        where = key.where
        examine(where, lambda: of_key(where, is_predicate=True))
    for ordering in filter(None, (part.expression for part in rule.orderings)):
        examine(ordering, lambda sql=ordering: of_order(sql))  # type: ignore[misc]
    return findings


def value_types(connection: Connection, key: UniqueKey, relation: Relation) -> list[int]:
    """Return the oid of the type of each expression of a key that the server can read."""
    expressions = [sql for sql in key.expressions if sql]
    return [each.type for each in describe(connection, aliased(relation.table, relation.schema), expressions)]
