"""What the server makes of the expressions of a key and a rule, without executing them on a row.

Everything here only plans, so it works in a read-only transaction and on a standby. The planner compares expressions
in the form in which it also looks for an arbiter, so ``status IN ('a', 'b')`` equals what the catalog shows as
``status = ANY (ARRAY['a'::text, 'b'::text])``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from dupe_audit.postgres.driver import execute
from dupe_audit.statements import ident, statement


class Described(NamedTuple):
    """The value of an expression."""

    type: int  #: oid of its type
    collation: str | None  #: quoted, and qualified unless the search path finds it; None if the type has none


def aliased(table: str, schema: str) -> str:
    """Return the table as the FROM clause in which its expressions are read."""
    return f"ONLY {ident(schema, table)} AS {ident(table)}"


def describe(connection: Connection, source: str, expressions: Sequence[str]) -> list[Described]:
    """Return type and collation of expressions over the rows of *source*, a FROM clause.

    Raises:
        sqlalchemy.exc.DBAPIError: the server cannot read one of them.
    """
    if not expressions:
        return []
    values = ", ".join(f"({sql}) AS k{n}" for n, sql in enumerate(expressions))
    types = ", ".join(f"pg_catalog.pg_typeof(no_row.k{n})::pg_catalog.oid AS k{n}" for n in range(len(expressions)))
    oids = list(execute(connection, statement("describe_values", facts=types, values=values, source=source)).one())
    collatable = set(execute(connection, statement("collatable_types", oids=", ".join(map(str, oids)))).scalars())
    names = ", ".join(
        f"pg_catalog.pg_collation_for(no_row.k{n})" if oid in collatable else "NULL" for n, oid in enumerate(oids)
    )
    described = statement("describe_values", facts=names, values=values, source=source)
    collations = list(execute(connection, described).one())
    return [Described(int(oid), collation) for oid, collation in zip(oids, collations, strict=True)]


def is_immutable(connection: Connection, source: str, expression: str) -> bool:
    """Return whether an expression is immutable and free of subqueries, so that an index can contain it.

    The planner recognises that nothing is NULL and not NULL at once only if it may evaluate the expression at any
    time, and only while ``constraint_exclusion`` is on, which the caller ensures.

    Raises:
        sqlalchemy.exc.DBAPIError: the server cannot read it.
    """
    condition = f"({expression}) IS NULL AND ({expression}) IS NOT NULL"
    plan = _plan(connection, "explain_predicate", source=source, predicate=condition)
    return str(plan.get("One-Time Filter")) == "false"


def is_volatile(connection: Connection, source: str, expression: str) -> bool:
    """Return whether an expression can have a different value at each evaluation; it may contain subqueries.

    The planner merges a subquery into the outer query unless its output is volatile.

    Raises:
        sqlalchemy.exc.DBAPIError: the server cannot read it.
    """
    plan = _plan(connection, "explain_volatile", source=source, expression=expression)
    return any(node.get("Alias") == "dupe_audit_apart" for node in _nodes(plan))


def require_no_columns(connection: Connection, expression: str) -> None:
    """Let the server read an expression without the table; columns that a subquery finds elsewhere do not matter.

    Raises:
        sqlalchemy.exc.DBAPIError: it cannot, so the expression uses a column of the row.
    """
    _plan(connection, "explain_without_table", expression=expression)


def is_never_true(connection: Connection, source: str, predicate: str) -> bool:
    """Return whether the planner can prove that a predicate is true for no row that the table can have.

    Raises:
        sqlalchemy.exc.DBAPIError: the server cannot read it.
    """
    plan = _plan(connection, "explain_predicate", source=source, predicate=predicate)
    if "One-Time Filter" not in plan:
        return False
    return "One-Time Filter" not in _plan(connection, "explain_predicate", source=source, predicate="true")


def require_order(connection: Connection, source: str, expression: str) -> None:
    """Let the server read an expression as an order of rows: its type has an order, and it contains no aggregate.

    Raises:
        sqlalchemy.exc.DBAPIError: it cannot.
    """
    _plan(connection, "explain_order", source=source, expression=expression)


def is_same(connection: Connection, source: str, pairs: Sequence[tuple[str, str]]) -> bool:
    """Return whether the two expressions of each pair are the same to the planner, their collations included.

    Raises:
        sqlalchemy.exc.DBAPIError: the server cannot read one of them, or its type has no order.
    """
    return all(
        says_same(execute(connection, same_value_sql(source, first, second)).scalar_one()) for first, second in pairs
    )


def same_value_sql(source: str, first: str, second: str) -> str:
    """Return the EXPLAIN that compares two expressions over the rows of *source*, a FROM clause."""
    return statement("same_value", first=first, second=second, source=source)


def says_same(explained: Any) -> bool:
    """Return whether the plan of ``same_value.sql`` says that the two expressions are the same."""
    plan = _plan_of(explained)
    keys: list[str] = next((node["Sort Key"] for node in _nodes(plan) if "Sort Key" in node), [])
    return bool(plan["Output"][0] == plan["Output"][1] and len(keys) <= 2)


def require_whole(connection: Connection, source: str, expression: str) -> None:
    """Let the server read an expression without parentheses around it, which a text such as ``a) || (b`` would close.

    Raises:
        sqlalchemy.exc.DBAPIError: it cannot.
    """
    _plan(connection, "explain_whole", source=source, expression=expression)


def require_boolean(connection: Connection, source: str, predicate: str) -> None:
    """Let the server read a predicate.

    Raises:
        sqlalchemy.exc.DBAPIError: it cannot, or the predicate is not boolean.
    """
    _plan(connection, "explain_predicate", source=source, predicate=predicate)


def _plan(connection: Connection, name: str, /, **holes: str) -> dict[str, Any]:
    """Return the plan that an EXPLAIN in ``statements/`` reports."""
    return _plan_of(execute(connection, statement(name, **holes)).scalar_one())


def _plan_of(explained: Any) -> dict[str, Any]:
    # Some drivers return JSON as text.
    plans = json.loads(explained) if isinstance(explained, str) else explained
    return dict(plans[0]["Plan"])


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in _nodes(child))]
