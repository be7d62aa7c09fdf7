"""The key that an existing unique constraint or unique index compares, as the catalog describes it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row

from dupe_audit.model import Expression, UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.elements import aliased, describe
from dupe_audit.statements import literal, statement


def named_key(connection: Connection, relation: Relation, key: UniqueKey) -> tuple[UniqueKey, bool] | None:
    """Return the key that the constraint or the index of that name compares; None if the table has none.

    Also return whether it compares as the types of its elements do by default; its sort order does not matter then.

    Args:
        key: whose name it is; its elements are not read.
    """
    usual_class = statement("usual_class", opclass="oc", type="own.atttypid")
    form = statement("constraint_form", relid=str(relation.relid), name=literal(key.name), usual_class=usual_class)
    row = execute(connection, form).one_or_none()
    if row is None:
        return None
    existing = replace(
        key,
        columns=_elements(connection, relation, row),
        where=row.predicate,
        include=tuple(row.included),
        nulls_not_distinct=row.nulls_not_distinct,
        deferrable=row.deferrable,
        initially="DEFERRED" if row.deferred else "IMMEDIATE",
        form="constraint" if row.is_constraint else "index",
    )
    return existing, bool(row.usual_equality)


def _elements(connection: Connection, relation: Relation, row: Row[Any]) -> tuple[str | Expression, ...]:
    """Return the columns and expressions; an expression says its collation only if it is not the usual one."""
    # pg_get_indexdef() adds parentheses around all but a call of a function.
    definitions = [sql[1:-1] if sql and sql.startswith("(") else sql for sql in row.expressions]
    sqls = [sql for sql in definitions if sql]
    usual = iter(describe(connection, aliased(relation.table, relation.schema), sqls))
    elements: list[str | Expression] = []
    for name, sql, collation in zip(row.names, definitions, row.collations, strict=True):
        if sql is None:
            elements.append(name)
        else:
            natural = next(usual).collation
            other = collation is not None and collation != natural
            elements.append(Expression(f"({sql}) COLLATE {collation}" if other else sql))
    return tuple(elements)
