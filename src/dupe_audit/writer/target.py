"""The table that is written to, as the catalog has it now: its columns, its identity and its arbiter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg.rows import dict_row

from dupe_audit.errors import DupeAuditError, WrongUsage
from dupe_audit.model import UniqueKey
from dupe_audit.statements import literal, statement, text_array

#: what tells a row from another where there is no primary key; good within one call of the writer
LOCATION = ("tableoid", "ctid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arbiter:
    """What ON CONFLICT can name now."""

    #: named: the constraint is valid · columns: the key has no name, but a valid unique index ·
    #: any: it is absent, being built, invalid or deferrable, so a bare DO NOTHING has to do
    mode: Literal["named", "columns", "any"]
    key_indexes: frozenset[str]  #: unique indexes over the key's columns, valid or not: their violation is a duplicate
    other_indexes: frozenset[str]  #: unique indexes over other columns, such as the primary key's

    @property
    def enforced(self) -> bool:
        """True where the database itself keeps the key unique."""
        return self.mode != "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the rows that are written."""

    name: str
    base: str  #: its type, or the one below its domain, by the catalog's name
    taken_as: str  #: that type without a length, so that no cast cuts a value in silence
    compared_as: str  #: that type, rounded as the column rounds
    stored_as: str  #: the column's own type
    cut: bool  #: a cast to its own type would cut a text that is too long for it
    collation: str  #: a COLLATE clause, or nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A table to write to."""

    table: str  #: qualified, quoted where it has to be
    key: tuple[str, ...]  #: the key's columns
    constraint: str | None
    columns: tuple[Column, ...]  #: in the order of a row's values
    payload: tuple[str, ...]  #: columns in which a duplicate is compared with the row that is there
    primary_key: tuple[str, ...]
    arbiter: Arbiter
    operators: tuple[str, ...]  #: equality, one a column of the key; empty where a key could not be looked up fast
    nulls_not_distinct: bool
    relations: frozenset[tuple[str, str]]  #: schema and name of the table and of its partitions
    rewrites: bool  #: a trigger may change a row before it is inserted, its key too
    deferrable: bool  #: some unique constraint is, and then a bare ON CONFLICT is an error (55000)
    pooled: bool  #: a pooler is in between, so that the next transaction may meet another session (H171)

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns that tell one row from another."""
        return self.primary_key or LOCATION


def probe(connection: psycopg.Connection[Any], key: UniqueKey, columns: Sequence[str], ignore: Sequence[str]) -> Target:
    """Read the catalog.

    Raises:
        DupeAuditError: there is no such table.
        WrongUsage: a column is missing or fills itself, or the constraint is one of other columns.
        psycopg.Error: as the server reports.
    """
    relid = statement("relid", table_name=literal(key.table), schema_name=literal(key.schema))
    where = statement("write_target", relid=relid, name=literal(key.name), key=text_array(key.columns))
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(where.encode()).fetchone()
        if found is None:
            place = f"schema {key.schema!r}" if key.schema else "any schema of the search path"
            raise DupeAuditError(f"There is no table {key.table!r} in {place}. Check the name and the connection.")
        shape = statement("write_columns", relid=str(found["relid"]), names=text_array(columns))
        rows = cursor.execute(shape.encode()).fetchall()
        enforced = found["arbiter_columns"] is not None
        if not enforced:
            seek = statement("write_seek", relid=str(found["relid"]), key=text_array(key.columns))
            found |= cursor.execute(seek.encode()).fetchone() or {}
    _check(found, rows, key, columns)
    comparable = found["operators"] and None not in found["operators"]
    order = found["arbiter_columns"] or key.columns
    operators = dict(zip(order, found["operators"], strict=True)) if comparable else {}
    mode: Literal["named", "columns", "any"] = "named" if key.name else "columns"
    skipped = {*key.columns, *found["primary_key"], *ignore}
    return Target(
        table=found["name"],
        key=key.columns,
        constraint=key.name,
        columns=tuple(Column(**{name: row[name] for name in Column.__slots__}) for row in rows),
        payload=tuple(column for column in columns if column not in skipped),
        primary_key=tuple(found["primary_key"]),
        arbiter=Arbiter(
            mode=mode if enforced else "any",
            key_indexes=frozenset(found["key_indexes"]),
            other_indexes=frozenset(found["other_indexes"]),
        ),
        operators=tuple(operators[column] for column in key.columns if operators),
        nulls_not_distinct=found["nulls_not_distinct"],
        relations=frozenset((schema, name) for schema, name in found["relations"]),
        rewrites=found["rewrites"],
        deferrable=found["deferrable"],
        pooled=found["backend_pid"] != connection.info.backend_pid,
    )


def _check(found: dict[str, Any], rows: list[dict[str, Any]], key: UniqueKey, columns: Sequence[str]) -> None:
    known = {row["name"]: row for row in rows}
    for column in columns:
        if column not in known:
            raise WrongUsage(f"{found['name']} has no column {column!r}. Names are case-sensitive and unquoted.")
        if known[column]["generated"] or known[column]["always"]:
            raise WrongUsage(f"Column {column!r} of {found['name']} fills itself; leave it out of the columns.")
    if found["constraint_columns"] and set(found["constraint_columns"]) != set(key.columns):
        raise WrongUsage(
            f"Constraint {key.name!r} is on ({', '.join(found['constraint_columns'])}), "
            f"not on ({', '.join(key.columns)}). Name the key as the constraint has it."
        )
