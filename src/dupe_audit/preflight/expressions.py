"""Why the server cannot use the expressions of a key or of an order, found before anything is counted or moved."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.findings import Finding, finding
from dupe_audit.model import READ_LOCK_TIMEOUT, CleanupRule, UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.elements import (
    aliased,
    describe,
    is_immutable,
    is_never_true,
    is_volatile,
    require_boolean,
    require_no_columns,
    require_order,
    require_whole,
)
from dupe_audit.postgres.privileges import lacking_privilege
from dupe_audit.postgres.session import transaction
from dupe_audit.postgres.sqlstates import (
    CLASS_DATA,
    CLASS_FEATURE,
    CLASS_RAISED,
    INSUFFICIENT_PRIVILEGE,
    UNDEFINED_COLUMN,
    UNREADABLE,
    sqlstate,
)
from dupe_audit.preflight.corrections import Part, correction, server_reason
from dupe_audit.statements import ident

#: classes of errors of an expression: syntax and names, values, what is not supported, and PL/pgSQL
OF_EXPRESSIONS = (*UNREADABLE, CLASS_DATA, CLASS_FEATURE, CLASS_RAISED)
#: oids of boolean and the integers, whose constants make a key of a single row
_SINGLE_ROW = {16, 20, 21, 23}


def expression_findings(connection: Connection, key: UniqueKey, relation: Relation, rule: CleanupRule) -> list[Finding]:
    """Return why the expressions of a key, its predicate or an order cannot be used.

    Args:
        connection: in autocommit, outside of a transaction: an expression that cannot be read would end it.
        key: of that table.
    """
    examination = _Examination(connection, relation)
    examine = examination.examine
    objections = [examine(sql, "element") for sql in filter(None, key.expressions)]
    objections += [examine(key.where, "predicate")] if key.where else []
    objections += [examine(part.expression, "order") for part in rule.orderings if part.expression]
    objections += [examination.examine_column(part.name) for part in rule.orderings if part.name]
    return [objection for objection in objections if objection]


class _Examination:
    """What the server makes of single expressions over the rows of a table."""

    def __init__(self, connection: Connection, relation: Relation) -> None:
        self._connection = connection
        self._relation = relation
        self._source = aliased(relation.table, relation.schema)

    def examine(self, sql: str, part: Part) -> Finding | None:
        """Return why an expression cannot be that part of a key or a rule; None if it can."""
        checks = {
            "element": self._element_objection,
            "predicate": self._predicate_objection,
            "order": self._order_objection,
        }
        try:
            with self._transaction():
                objection = checks[part](sql)
        except DBAPIError as error:
            return self._unreadable(sql, part, error)
        if objection or part == "predicate" or not self._is_one_value(sql, part):
            return objection
        return finding("constant-expression", sql, table=self._relation.name)

    def examine_column(self, name: str) -> Finding | None:
        """Return why rows cannot be ordered by an existing column; None if they can."""
        try:
            with self._transaction():
                require_order(self._connection, self._source, ident(name))
        except DBAPIError as error:
            return None if sqlstate(error) == UNDEFINED_COLUMN else self._unreadable(name, "order", error)
        return None

    def _unreadable(self, sql: str, part: Part, error: DBAPIError) -> Finding:
        if sqlstate(error) == INSUFFICIENT_PRIVILEGE:
            lacking = lacking_privilege(self._connection, self._relation.schema, self._relation.table)
            if lacking:
                return finding("missing-privilege", lacking)
        if not (sqlstate(error) or "").startswith(OF_EXPRESSIONS):
            raise error
        objection = finding("expression-invalid", f"{sql}: {server_reason(sql, error)}", table=self._relation.name)
        return replace(objection, help=correction(sql, part, error) or objection.help)

    def _transaction(self) -> AbstractContextManager[None]:
        local = {"constraint_exclusion": "on"}
        return transaction(self._connection, lock_timeout=READ_LOCK_TIMEOUT, read_only=True, local=local)

    def _element_objection(self, sql: str) -> Finding | None:
        require_whole(self._connection, self._source, sql)
        describe(self._connection, self._source, [sql])
        immutable = is_immutable(self._connection, self._source, sql)
        return None if immutable else finding("not-immutable", sql, table=self._relation.name)

    def _predicate_objection(self, sql: str) -> Finding | None:
        require_boolean(self._connection, self._source, sql)
        if objection := self._element_objection(sql):
            return objection
        never = is_never_true(self._connection, self._source, sql)
        return finding("predicate-never-true", sql, table=self._relation.name) if never else None

    def _order_objection(self, sql: str) -> Finding | None:
        require_whole(self._connection, self._source, sql)
        describe(self._connection, self._source, [sql])
        require_order(self._connection, self._source, sql)
        return finding("volatile-order", sql) if is_volatile(self._connection, self._source, sql) else None

    def _is_one_value(self, sql: str, part: Part) -> bool:
        """Return whether an expression has the same value in every row, apparently by mistake.

        ``(true)`` or ``(1)`` in a key is intended: it allows a single row.
        """
        with self._transaction():
            value = describe(self._connection, self._source, [sql])[0]
        if part == "element" and value.type in _SINGLE_ROW:
            return False
        try:
            with self._transaction():
                require_no_columns(self._connection, sql)
        except DBAPIError as error:
            if not (sqlstate(error) or "").startswith(OF_EXPRESSIONS):
                raise
            return False
        return True


def value_types(connection: Connection, key: UniqueKey, relation: Relation) -> list[int]:
    """Return the oid of the type of each expression of a key that the server can read."""
    expressions = [sql for sql in key.expressions if sql]
    return [each.type for each in describe(connection, aliased(relation.table, relation.schema), expressions)]
