"""The table that is written to, as the catalog describes it now: its columns, its identity and its arbiter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg.rows import dict_row

from dupe_audit.errors import DupeAuditError, WrongUsage
from dupe_audit.model import UniqueKey
from dupe_audit.statements import literal, statement, text_array

#: identifies a row of a table without a primary key, for the duration of one call of the writer
LOCATION = ("tableoid", "ctid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arbiter:
    """What ON CONFLICT can name now."""

    #: named: the constraint is valid · columns: the key has no name, but a valid unique index ·
    #: any: it is absent, being built, invalid or deferrable, so DO NOTHING names no target
    mode: Literal["named", "columns", "any"]
    key_indexes: frozenset[str]  #: unique indexes over the key's columns, valid or not; violated by a duplicate
    other_indexes: frozenset[str]  #: unique indexes over other columns, such as the primary key's

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
    collation: str  #: a COLLATE clause, or empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A table to write to."""

    table: str  #: qualified, and quoted if necessary
    key: tuple[str, ...]  #: the key's columns
    constraint: str | None
    columns: tuple[TargetColumn, ...]  #: in the order of a row's values
    payload: tuple[str, ...]  #: columns in which a duplicate is compared with the existing row
    primary_key: tuple[str, ...]
    arbiter: Arbiter
    operators: tuple[str, ...]  #: equality, one per key column; empty if no index makes looking a key up fast
    nulls_not_distinct: bool
    relations: frozenset[tuple[str, str]]  #: schema and name of the table and of its partitions
    has_row_trigger: bool  #: a trigger may change a row, and its key, before it is inserted
    deferrable: bool  #: some unique constraint is deferrable, so ON CONFLICT without a target is an error (55000)
    pooled: bool  #: the connection goes through a pooler, so the next transaction may use another session (H171)

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns that identify a row."""
        return self.primary_key or LOCATION


def probe(connection: psycopg.Connection[Any], key: UniqueKey, columns: Sequence[str], ignore: Sequence[str]) -> Target:
    """Read the target from the catalog.

    Args:
        connection: where the table is.
        key: names the table, its key columns and the constraint.
        columns: the columns of a row.
        ignore: those of them in which a duplicate may differ.

    Raises:
        DupeAuditError: the table does not exist.
        WrongUsage: a column is missing or GENERATED ALWAYS, or the constraint is on other columns.
        psycopg.Error: as the server reports.
    """
    relid = statement("relid", table_name=literal(key.table), schema_name=literal(key.schema))
    query = statement("write_target", relid=relid, name=literal(key.name), key=text_array(key.columns))
    with connection.cursor(row_factory=dict_row) as cursor:
        table = cursor.execute(query.encode()).fetchone()
        if table is None:
            place = f"schema {key.schema!r}" if key.schema else "any schema of the search path"
            raise DupeAuditError(f"Table {key.table!r} does not exist in {place}. Check the name and the connection.")
        query = statement("write_columns", relid=str(table["relid"]), names=text_array(columns))
        rows = cursor.execute(query.encode()).fetchall()
        enforced = table["arbiter_columns"] is not None
        if not enforced:
            query = statement("write_seek", relid=str(table["relid"]), key=text_array(key.columns))
            table |= cursor.execute(query.encode()).fetchone() or {}
    _check(table, rows, key, columns)
    comparable = table["operators"] and None not in table["operators"]
    order = table["arbiter_columns"] or key.columns
    operators = dict(zip(order, table["operators"], strict=True)) if comparable else {}
    mode: Literal["named", "columns", "any"] = "named" if key.name else "columns"
    not_compared = {*key.columns, *table["primary_key"], *ignore}
    return Target(
        table=table["name"],
        key=key.columns,
        constraint=key.name,
        columns=tuple(TargetColumn(**{name: row[name] for name in TargetColumn.__slots__}) for row in rows),
        payload=tuple(column for column in columns if column not in not_compared),
        primary_key=tuple(table["primary_key"]),
        arbiter=Arbiter(
            mode=mode if enforced else "any",
            key_indexes=frozenset(table["key_indexes"]),
            other_indexes=frozenset(table["other_indexes"]),
        ),
        operators=tuple(operators[column] for column in key.columns if operators),
        nulls_not_distinct=table["nulls_not_distinct"],
        relations=frozenset((schema, name) for schema, name in table["relations"]),
        has_row_trigger=table["has_row_trigger"],
        deferrable=table["deferrable"],
        pooled=table["backend_pid"] != connection.info.backend_pid,
    )


def _check(table: dict[str, Any], rows: list[dict[str, Any]], key: UniqueKey, columns: Sequence[str]) -> None:
    existing = {row["name"]: row for row in rows}
    for column in columns:
        if column not in existing:
            raise WrongUsage(f"{table['name']} has no column {column!r}. Names are case-sensitive and unquoted.")
        if existing[column]["generated"] or existing[column]["always"]:
            raise WrongUsage(f"Column {column!r} of {table['name']} is GENERATED ALWAYS; leave it out of the columns.")
    if table["constraint_columns"] and set(table["constraint_columns"]) != set(key.columns):
        raise WrongUsage(
            f"Constraint {key.name!r} is on ({', '.join(table['constraint_columns'])}), "
            f"not on ({', '.join(key.columns)}). Give the key the constraint's columns."
        )
