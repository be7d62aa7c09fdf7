"""The table that is written to, as the catalog describes it now: its columns, its identity and its arbiter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg.rows import dict_row

from dupe_audit.errors import WrongUsage, missing_table
from dupe_audit.model import UniqueKey
from dupe_audit.statements import ident, literal, statement, text_array
from dupe_audit.writer.arbiters import ArbiterIndex, KeyIndexes, conflict_target, key_indexes

#: identifies a row of a table without a primary key, for the duration of one call of the writer
LOCATION = ("tableoid", "ctid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arbiter:
    """What ON CONFLICT can name now."""

    #: named: the constraint is valid · columns: a valid unique index fits the key, which has no constraint's name, or
    #: has an expression or a predicate · any: it is absent, being built, invalid or deferrable, so DO NOTHING names no
    #: target
    mode: Literal["named", "columns", "any"]
    key_indexes: frozenset[str]  #: unique indexes over the key's elements, valid or not; violated by a duplicate
    other_indexes: frozenset[str]  #: unique indexes over others, such as the primary key's
    #: those of ``key_indexes`` whose violation ON CONFLICT prevents, unless one is being rebuilt
    prevented: frozenset[str] = frozenset()

    @property
    def enforced(self) -> bool:
        """Whether the database itself keeps the key unique."""
        return self.mode != "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetColumn:
    """A column of the rows that are written."""

    name: str
    base_type: str  #: catalog name of its type; of the type below, if that is a domain
    sent_as: str  #: the base type without a length, so that no cast truncates a value silently
    compared_as: str  #: the base type with the precision to which the column rounds
    stored_as: str  #: the column's own type
    truncates: bool  #: a cast to its own type would truncate a text that is too long
    own_cast: bool  #: a function casts a text to its type, instead of the type's input
    collation: str  #: a COLLATE clause, or empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A table to write to."""

    table: str  #: qualified, and quoted if necessary
    key: tuple[str, ...]  #: the key's elements; columns, unless ``conflict_target`` is given
    constraint: str | None  #: None: the key names none that ON CONFLICT could
    columns: tuple[TargetColumn, ...]  #: in the order of a row's values
    payload: tuple[str, ...]  #: columns in which a duplicate is compared with the existing row
    primary_key: tuple[str, ...]
    arbiter: Arbiter
    operators: tuple[str, ...]  #: equality, one per key column; empty if no index makes looking a key up fast
    lookups: tuple[ArbiterIndex, ...]  #: the arbiters of a key with an expression or a predicate
    nulls_not_distinct: bool
    relations: frozenset[tuple[str, str]]  #: schema and name of the table and of its partitions
    has_row_trigger: bool  #: a trigger may change a row, and its key, before it is inserted
    deferrable: bool  #: some unique constraint is deferrable, so ON CONFLICT without a target is an error (55000)
    alias: str  #: of the table in statements, quoted
    where: str | None  #: the key's predicate, as it was given
    conflict_target: str | None  #: elements and predicate for ON CONFLICT, of a key with an expression or a predicate

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns that identify a row."""
        return self.primary_key or LOCATION


def probe(
    connection: psycopg.Connection[Any],
    key: UniqueKey,
    columns: Sequence[str],
    ignore: Sequence[str],
    *,
    starting: bool = True,
    needs_arbiter: bool = False,
) -> Target:
    """Read the target from the catalog.

    Args:
        connection: where the table is.
        key: names the table, its key and the constraint.
        columns: the columns of a row.
        ignore: those of them in which a duplicate may differ.
        starting: refuse a table whose indexes would reject every redelivery.
        needs_arbiter: if *starting*, refuse a table without an arbiter.

    Raises:
        DupeAuditError: the table does not exist.
        WrongUsage: a column is missing or GENERATED ALWAYS, the constraint is on other columns, an expression or the
            predicate is not valid or needs a column that is not written, there is no arbiter although one is needed,
            or an index over the key rejects duplicates and cannot be the arbiter.
        psycopg.Error: as the server reports.
    """
    indexes: KeyIndexes | None = None
    with connection.cursor(row_factory=dict_row) as cursor:
        table = cursor.execute(target_sql(key).encode()).fetchone()
        if table is None:
            raise missing_table(key.table, key.schema)
        query = statement("write_columns", relid=str(table["relid"]), names=text_array(columns))
        rows = cursor.execute(query.encode()).fetchall()
        _check(table, rows, key, columns)
        if not key.is_plain:
            indexes = key_indexes(connection, table["relid"], table["name"], key, rows)
            table |= _replaced(table, indexes)
        enforced = bool(indexes.arbiters) if indexes else table["arbiter_columns"] is not None
        if not enforced and key.is_plain:
            query = statement("write_seek", relid=str(table["relid"]), key=text_array(key.elements))
            table |= cursor.execute(query.encode()).fetchone() or {}
    if starting and not enforced:
        if needs_arbiter:
            _refuse_without_arbiter(table, key, indexes)
        if not table["operators"]:
            _refuse_unfit(table, key)
    return _target(key, columns, ignore, table, rows, indexes)


def _replaced(table: dict[str, Any], indexes: KeyIndexes) -> dict[str, Any]:
    """Return what replaces the table's facts for a key with an expression or a predicate."""
    every = {*table["key_indexes"], *table["other_indexes"]}
    return {
        "arbiter_columns": None,
        "operators": None,
        "nulls_not_distinct": False,
        "key_indexes": list(indexes.of_key),
        "other_indexes": list(every - indexes.of_key),
        "unfit_indexes": list(dict.fromkeys((*indexes.rejecting, *table["unfit_indexes"]))),
    }


def _target(
    key: UniqueKey,
    columns: Sequence[str],
    ignore: Sequence[str],
    table: dict[str, Any],
    rows: list[dict[str, Any]],
    indexes: KeyIndexes | None,
) -> Target:
    comparable = table["operators"] and None not in table["operators"]
    order = table["arbiter_columns"] or key.elements
    operators = dict(zip(order, table["operators"], strict=True)) if comparable else {}
    enforced = bool(indexes.arbiters) if indexes else table["arbiter_columns"] is not None
    mode: Literal["named", "columns"] = "named" if _constraint(key) else "columns"
    not_compared = {*filter(None, key.names), *table["primary_key"], *ignore}
    return Target(
        table=table["name"],
        key=key.elements,
        constraint=_constraint(key),
        columns=tuple(TargetColumn(**{name: row[name] for name in TargetColumn.__slots__}) for row in rows),
        payload=tuple(column for column in columns if column not in not_compared),
        primary_key=tuple(table["primary_key"]),
        arbiter=Arbiter(
            mode=mode if enforced else "any",
            key_indexes=frozenset(table["key_indexes"]),
            other_indexes=frozenset(table["other_indexes"]),
            prevented=indexes.names if indexes else frozenset(table["key_indexes"]),
        ),
        operators=tuple(operators[column] for column in key.elements if operators),
        lookups=indexes.arbiters if indexes else (),
        nulls_not_distinct=table["nulls_not_distinct"],
        relations=frozenset((schema, name) for schema, name in table["relations"]),
        has_row_trigger=table["has_row_trigger"],
        deferrable=table["deferrable"],
        alias="t" if key.is_plain else ident(key.table),
        where=key.where,
        conflict_target=None if key.is_plain else conflict_target(key),
    )


def _constraint(key: UniqueKey) -> str | None:
    """Return the name that ON CONFLICT ON CONSTRAINT can use; an index alone has none."""
    return key.name if key.is_plain and key.form == "constraint" else None


def target_sql(key: UniqueKey) -> str:
    """Return the query for the table of a key."""
    return statement(
        "write_target",
        relid=statement("relid", table_name=literal(key.table), schema_name=literal(key.schema)),
        name=literal(_constraint(key)),
        key=text_array(name for name in key.names if name is not None),
    )


def _refuse_without_arbiter(table: dict[str, Any], key: UniqueKey, indexes: KeyIndexes | None) -> None:
    """Refuse a table without an arbiter.

    Raises:
        WrongUsage: always; the message has the definitions of the table's unique indexes.
    """
    part = f" WHERE {key.where}" if key.where is not None else ""
    existing = "; ".join(indexes.definitions) if indexes else ""
    raise WrongUsage(
        f"{table['name']} has no arbiter for the key ({', '.join(key.elements)}){part}: no valid unique index fits it. "
        + (f"The table's unique indexes are: {existing}. " if existing else "")
        + "Create the index first (op.create_unique_index_online), or give the key the elements and the "
        "predicate of an existing one. To write every copy until the index is valid, set needs_arbiter=False, or "
        "rollout = true in a consumer's file."
    )


def _refuse_unfit(table: dict[str, Any], key: UniqueKey) -> None:
    """Refuse a table without an arbiter if one of its indexes would reject every redelivery.

    Raises:
        WrongUsage: there is such an index; the message has its definition.
    """
    if not table["unfit_indexes"]:
        return
    part = f" WHERE {key.where}" if key.where is not None else ""
    raise WrongUsage(
        f"{table['name']} has no arbiter for the key ({', '.join(key.elements)}){part}, and would reject each "
        f"duplicate because of: {'; '.join(table['unfit_indexes'])}. If that index enforces the key you "
        "mean, give its expressions as the elements of the key, and its predicate as where. Otherwise "
        "create a unique constraint on the key's columns."
    )


def _check(table: dict[str, Any], rows: list[dict[str, Any]], key: UniqueKey, columns: Sequence[str]) -> None:
    existing = {row["name"]: row for row in rows}
    for column in columns:
        if column not in existing:
            raise WrongUsage(f"{table['name']} has no column {column!r}. Names are case-sensitive and unquoted.")
        if existing[column]["generated"] or existing[column]["always"]:
            raise WrongUsage(f"Column {column!r} of {table['name']} is GENERATED ALWAYS; leave it out of the columns.")
    if table["constraint_columns"] and set(table["constraint_columns"]) != set(key.elements):
        raise WrongUsage(
            f"Constraint {key.name!r} is on ({', '.join(table['constraint_columns'])}), "
            f"not on ({', '.join(key.elements)}). Give the key the constraint's columns."
        )
