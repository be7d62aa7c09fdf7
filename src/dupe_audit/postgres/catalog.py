"""Find the table by its exact name, and read from the catalog the SQL that statements are filled with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row
from sqlalchemy.exc import DBAPIError

from dupe_audit.errors import DupeAuditError, missing_table
from dupe_audit.findings import Finding, finding
from dupe_audit.model import CleanupRule, Expression, IndexState, UniqueKey
from dupe_audit.postgres import elements
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.sqlstates import about_an_expression
from dupe_audit.statements import ident, literal, statement, text_array


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table or another relation, by its oid: a name can come to mean another table (H69, H158)."""

    relid: int
    schema: str
    table: str
    name: str  #: qualified, quoted where necessary
    owner: str  #: role name, quoted where necessary
    bytes: int  #: heap and TOAST, as of the last VACUUM or ANALYZE
    is_tree: bool = False  #: whether it is partitioned: its leaves have the rows


def relid_sql(key: UniqueKey) -> str:
    """Return the query that finds the oid of the key's table."""
    return statement("relid", table_name=literal(key.table), schema_name=literal(key.schema))


def find(connection: Connection, key: UniqueKey) -> tuple[UniqueKey, Relation] | None:
    """Return the key with its schema filled in, and its table; None if there is no such table."""
    row = execute(connection, statement("relation", relid=relid_sql(key))).mappings().one_or_none()
    if row is None:
        return None
    relation = Relation(**row)
    return replace(key, schema=relation.schema), relation


def find_by_oid(connection: Connection, relid: int) -> Relation | None:
    """Return the relation of that oid; None if it was dropped."""
    row = execute(connection, statement("relation", relid=str(relid))).mappings().one_or_none()
    return None if row is None else Relation(**row)


def require(connection: Connection, key: UniqueKey) -> tuple[UniqueKey, Relation]:
    """Return the key with its schema filled in, and its table.

    Raises:
        DupeAuditError: there is no such table.
    """
    match = find(connection, key)
    if match is None:
        raise missing_table(key.table, key.schema)
    return match


def still_named(connection: Connection, relation: Relation) -> Relation:
    """Return a table as it is now, after a wait in which anything may have happened to it.

    Raises:
        DupeAuditError: it was renamed, moved or dropped since it was found by its name.
    """
    current = find_by_oid(connection, relation.relid)
    if current is None or current.name != relation.name:
        happened = "dropped" if current is None else f"renamed to {current.name}"
        raise DupeAuditError(
            f"Table {relation.name} was {happened} while this step waited for another session. It changed nothing. "
            "Check which table you mean, then run the same command again."
        )
    return current


def rule_fragment_holes(
    key: UniqueKey, rule: CleanupRule, *, placeholders: tuple[str, str] | None = None
) -> dict[str, str]:
    """Return what fills ``fragments.sql`` for a key and a rule, except the table.

    Args:
        placeholders: for the table where its rows are read or written, and for its name alone; None for its own.
    """
    return {
        "placeholder": literal(placeholders and placeholders[0]),
        "alias_placeholder": literal(placeholders and placeholders[1]),
        "key": text_array(key.names),
        "expressions": text_array(key.expressions),
        "predicate": literal(key.where),
        "nulls_not_distinct": literal(key.nulls_not_distinct),
        "order_by": text_array(name for name, _, _ in rule.orderings),
        "order_expressions": text_array(expression for _, expression, _ in rule.orderings),
        "directions": text_array(direction for _, _, direction in rule.orderings),
        "ignore": text_array(rule.not_compared),
        "keep": literal(rule.keep),
        "numbered": literal(bool(rule.merges)),
        "divides": literal(rule.divides),
        "divergent": literal(rule.divergent),
    }


def fragments(
    connection: Connection,
    relation: Relation,
    key: UniqueKey,
    rule: CleanupRule,
    *,
    placeholders: tuple[str, str] | None = None,
) -> dict[str, str]:
    """Return the pieces of SQL for a table, key and rule, by the name of the hole that they fill.

    Args:
        placeholders: for the table where its rows are read or written, and for its name alone; None for its own.
    """
    holes = rule_fragment_holes(key, rule, placeholders=placeholders)
    row = execute(connection, statement("fragments", relid=str(relation.relid), **holes))
    holes = {name: str(value) for name, value in row.mappings().one().items()}
    return {**holes, "key_names": text_array(filter(None, key.names))}


def change_fragments(connection: Connection, relation: Relation, rule: CleanupRule) -> dict[str, str]:
    """Return the pieces of SQL that change rows as a rule says; empty if it changes none."""
    if not rule.changes_rows:
        return {}
    sql = statement("change_fragments", relid=str(relation.relid), **change_holes(rule))
    row = execute(connection, sql).mappings().one()
    return {name: str(value) for name, value in row.items() if value is not None}


def change_holes(rule: CleanupRule) -> dict[str, str]:
    """Return what a rule changes as SQL values."""
    by_sql = ", ".join(literal(merge.is_sql) for merge in rule.merges)
    return {
        "changed_columns": text_array(change.column for change in rule.changes),
        "changed_values": text_array(change.sql for change in rule.changes),
        "merged_columns": text_array(merge.column for merge in rule.merges),
        "merged_by": text_array(merge.how for merge in rule.merges),
        "merged_by_sql": f"ARRAY[{by_sql}]::pg_catalog.bool[]",
    }


def element_sql(element: str | Expression) -> str:
    """Return an element as the definition of an index has it."""
    return f"({element.sql})" if isinstance(element, Expression) else ident(element)


def build_index_sql(key: UniqueKey, table: str, *, held: bool = False, only: bool = False, options: str = "") -> str:
    """Return the statement that builds the index of a named key, on a table named as in SQL.

    Args:
        held: in a transaction that holds the writers, and not concurrently.
        only: on one level of a tree, without its partitions.
        options: storage parameters, as SQL that begins with a space.
    """
    build = "build_only" if only else "build_index_held" if held else "build_index"
    return statement(build, name=ident(str(key.name)), table=table, options=options, **definition_holes(key))


def definition_holes(key: UniqueKey) -> dict[str, str]:
    """Return the definition of a key's index, as the holes of the statements that build it."""
    return {
        "key_columns": ", ".join(map(element_sql, key.columns)),
        "include": f" INCLUDE ({', '.join(ident(column) for column in key.include)})" if key.include else "",
        "nulls": " NULLS NOT DISTINCT" if key.nulls_not_distinct else "",
        "where": f" WHERE {key.where}" if key.where else "",
    }


def index_state_holes(key: UniqueKey) -> dict[str, str]:
    """Return what fills ``index_state.sql`` for a key, except the table."""
    return {
        "name": literal(key.name),
        "key": text_array(key.names),
        "is_plain": literal(key.is_plain),
        "has_predicate": literal(key.where is not None),
        "include": text_array(key.include),
        "nulls_not_distinct": literal(key.nulls_not_distinct),
        "deferrable": literal(key.deferrable),
        "deferred": literal(key.initially == "DEFERRED"),
        "usual_class": statement("usual_class", opclass="oc", type="own.atttypid"),
    }


def index_state(connection: Connection, relid: int, key: UniqueKey) -> IndexState | None:
    """Return what has the constraint's name in the table's schema: its definition, validity and liveness."""
    named = statement("name_in_schema", relid=str(relid), name=literal(key.name))
    if not execute(connection, named).scalar_one():
        return None
    row = execute(connection, statement("index_state", relid=str(relid), **index_state_holes(key))).one_or_none()
    if row is None:
        return None
    return IndexState(
        oid=row.oid,
        name=row.name,
        valid=bool(row.valid),
        ready=bool(row.ready),
        definition=row.definition if row.indrelid else f"a relation of kind {row.relkind}, not an index",
        bytes=row.bytes or 0,
        same_definition=row.same_definition and row.indrelid == relid and has_elements(connection, key, row),
        constraint=row.constraint_name,
        same_constraint_form=row.same_constraint_form if key.form == "constraint" else row.constraint_name is None,
        constraint_form=row.constraint_form or "",
    )


def has_elements(connection: Connection, key: UniqueKey, index: Row[Any]) -> bool:
    """Return whether an index has the elements and the predicate of a key that is not plain.

    Args:
        index: a row of ``index_state.sql``, which agrees in everything else.
    """
    if key.is_plain:
        return True
    # Not by the names in the key: its schema may be left to the search path.
    relation = find_by_oid(connection, index.indrelid)
    if relation is None:
        return False
    source = elements.aliased(relation.table, relation.schema)
    own = [element_sql(element) for element in key.columns]
    # An index keeps the collation apart from its expression, so both sides get it.
    collations = [f" COLLATE {collation}" if collation else "" for collation in index.collations]
    pairs = [
        (first + clause, second + clause) for first, second, clause in zip(own, index.elements, collations, strict=True)
    ]
    if key.where:
        pairs.append((key.where, index.predicate))
    try:
        described = elements.describe(connection, source, own)
        return [each.collation for each in described] == list(index.collations) and elements.is_same(
            connection, source, pairs
        )
    except DBAPIError as error:
        # An expression that the server cannot plan, such as one over a dropped column or with a value of an enum that
        # was renamed, is in no index.
        if about_an_expression(error):
            return False
        raise


def wrong_definition(relation: Relation, state: IndexState) -> Finding:
    """Return the finding that the object with the constraint's name has another definition, and show it."""
    owner = f"; it belongs to constraint {state.constraint} ({state.constraint_form})" if state.constraint else ""
    wrong = finding("wrong-definition", state.name, table=relation.name)
    return replace(wrong, message=f"{wrong.message} It is: {state.definition}{owner}.")
