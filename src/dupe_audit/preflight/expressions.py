"""Why the server cannot use the expressions of a key or of an order, found before anything is counted or moved."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.findings import Finding, finding
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.elements import aliased, describe, is_immutable, is_volatile, require_boolean, require_whole
from dupe_audit.postgres.session import transaction
from dupe_audit.postgres.sqlstates import UNREADABLE, reason, sqlstate

#: classes of errors of an expression: syntax and names, values, what is not supported, and PL/pgSQL
_OF_EXPRESSIONS = (*UNREADABLE, "22", "0A", "P0")


def expression_findings(connection: Connection, key: UniqueKey, relation: Relation, rule: CleanupRule) -> list[Finding]:
    """Return why the expressions of a key, its predicate or an order cannot be used.

    Args:
        connection: in autocommit, outside of a transaction: an expression that cannot be read would end it.
        key: of that table.
    """
    source = aliased(relation.table, relation.schema)

    def of_key(sql: str) -> Finding | None:
        require_whole(connection, source, sql)
        describe(connection, source, [sql])
        immutable = is_immutable(connection, source, sql)
        return None if immutable else finding("not-immutable", sql, table=relation.name)

    def of_predicate(sql: str) -> Finding | None:
        require_boolean(connection, source, sql)
        return of_key(sql)

    def of_order(sql: str) -> Finding | None:
        require_whole(connection, source, sql)
        describe(connection, source, [sql])
        return finding("volatile-order", sql) if is_volatile(connection, source, sql) else None

    checks = [(sql, of_key) for sql in key.expressions]
    checks += [(key.where, of_predicate), *((part.expression, of_order) for part in rule.orderings)]
    objections = (_examined(connection, relation, sql, check) for sql, check in checks if sql is not None)
    return [objection for objection in objections if objection]


def _examined(
    connection: Connection, relation: Relation, sql: str, check: Callable[[str], Finding | None]
) -> Finding | None:
    try:
        with transaction(connection, lock_timeout="5s", read_only=True, local={"constraint_exclusion": "on"}):
            return check(sql)
    except DBAPIError as error:
        if not (sqlstate(error) or "").startswith(_OF_EXPRESSIONS):
            raise
        return finding("expression-invalid", f"{sql}: {reason(error)}", table=relation.name)


def value_types(connection: Connection, key: UniqueKey, relation: Relation) -> list[int]:
    """Return the oid of the type of each expression of a key that the server can read."""
    expressions = [sql for sql in key.expressions if sql]
    return [each.type for each in describe(connection, aliased(relation.table, relation.schema), expressions)]
