"""The table that is written to, as the catalog describes it now: its columns, its identity and its arbiter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg.rows import dict_row

from dupe_audit.errors import DupeAuditError, WrongUsage
from dupe_audit.model import UniqueKey
from dupe_audit.postgres.sqlstates import reason
from dupe_audit.statements import ident, literal, statement, text_array

#: identifies a row of a table without a primary key, for the duration of one call of the writer
LOCATION = ("tableoid", "ctid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arbiter:
    """What ON CONFLICT can name now."""

    #: named: the constraint is valid · columns: a valid unique index fits the key, which has no name or a condition ·
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
    where: str | None = None  #: the part of the table in which the key is unique, as SQL

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
    where: str | None = None,
    starting: bool = True,
) -> Target:
    """Read the target from the catalog.

    Args:
        connection: where the table is.
        key: names the table, its key columns and the constraint.
        columns: the columns of a row.
        ignore: those of them in which a duplicate may differ.
        where: the part of the table in which the key is unique, as SQL; None for the whole table.
        starting: refuse a table whose indexes would reject every redelivery.

    Raises:
        DupeAuditError: the table does not exist.
        WrongUsage: a column is missing or GENERATED ALWAYS, the constraint is on other columns, *where* is not a valid
            condition, or an index over the key rejects duplicates and cannot be the arbiter.
        psycopg.Error: as the server reports.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        table = cursor.execute(target_sql(key).encode()).fetchone()
        if table is None:
            place = f"schema {key.schema!r}" if key.schema else "any schema of the search path"
            raise DupeAuditError(f"Table {key.table!r} does not exist in {place}. Check the name and the connection.")
        query = statement("write_columns", relid=str(table["relid"]), names=text_array(columns))
        rows = cursor.execute(query.encode()).fetchall()
        _check(table, rows, key, columns)
        if where is not None:
            arbiters = _arbiters(connection, table["name"], key, where)
            table = cursor.execute(target_sql(key, arbiters).encode()).fetchone() or table
        enforced = table["arbiter_columns"] is not None
        if not enforced and where is None:
            query = statement("write_seek", relid=str(table["relid"]), key=text_array(key.elements))
            table |= cursor.execute(query.encode()).fetchone() or {}
    if starting and not enforced and not table["operators"]:
        _refuse_unfit(table, key, where)
    comparable = table["operators"] and None not in table["operators"]
    order = table["arbiter_columns"] or key.elements
    operators = dict(zip(order, table["operators"], strict=True)) if comparable else {}
    mode: Literal["named", "columns", "any"] = "named" if key.name and where is None else "columns"
    not_compared = {*key.elements, *table["primary_key"], *ignore}
    return Target(
        table=table["name"],
        key=key.elements,
        constraint=key.name,
        columns=tuple(TargetColumn(**{name: row[name] for name in TargetColumn.__slots__}) for row in rows),
        payload=tuple(column for column in columns if column not in not_compared),
        primary_key=tuple(table["primary_key"]),
        arbiter=Arbiter(
            mode=mode if enforced else "any",
            key_indexes=frozenset(table["key_indexes"]),
            other_indexes=frozenset(table["other_indexes"]),
        ),
        operators=tuple(operators[column] for column in key.elements if operators),
        nulls_not_distinct=table["nulls_not_distinct"],
        relations=frozenset((schema, name) for schema, name in table["relations"]),
        has_row_trigger=table["has_row_trigger"],
        deferrable=table["deferrable"],
        pooled=table["backend_pid"] != connection.info.backend_pid,
        where=where,
    )


def target_sql(key: UniqueKey, arbiters: Sequence[str] | None = None) -> str:
    """Return the query for the table of a key; *arbiters* names the indexes among which its arbiter is."""
    return statement(
        "write_target",
        relid=statement("relid", table_name=literal(key.table), schema_name=literal(key.schema)),
        name=literal(key.name if arbiters is None else None),
        key=text_array(key.elements),
        arbiters="NULL::pg_catalog.text[]" if arbiters is None else text_array(arbiters),
    )


def arbiters_sql(table: str, key: UniqueKey, where: str) -> str:
    """Return the EXPLAIN that names the indexes which can be the arbiter; *table* is qualified and quoted."""
    columns = ", ".join(map(ident, key.elements))
    return statement(
        "write_arbiters", table=table, key=columns, nulls=", ".join("NULL" for _ in key.elements), where=where
    )


def _arbiters(connection: psycopg.Connection[Any], table: str, key: UniqueKey, where: str) -> list[str]:
    """Return the unique indexes that the server infers from the key and the condition.

    Raises:
        WrongUsage: the condition is not valid for the table.
        psycopg.Error: as the server reports.
    """
    try:
        row = connection.execute(arbiters_sql(table, key, where).encode()).fetchone()
    except psycopg.errors.InvalidColumnReference:
        return []  # no index fits
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable):
        raise
    except psycopg.ProgrammingError as error:
        raise WrongUsage(f"where={where!r} is not a valid condition on {table}: {reason(error)}.") from error
    return arbiters_in(row[0] if row else [])


def arbiters_in(plans: Any) -> list[str]:
    """Return the arbiters that a plan names; none if a rule replaces the INSERT."""
    return [name for plan in plans for name in plan.get("Plan", {}).get("Conflict Arbiter Indexes", [])]


def _refuse_unfit(table: dict[str, Any], key: UniqueKey, where: str | None) -> None:
    """Refuse a table without an arbiter if one of its indexes would reject every redelivery.

    Raises:
        WrongUsage: there is such an index; the message has its definition.
    """
    if not table["unfit_indexes"]:
        return
    part = f" WHERE {where}" if where is not None else ""
    raise WrongUsage(
        f"{table['name']} has no arbiter for the key ({', '.join(key.elements)}){part}, and would reject each duplicate "
        f"because of: {'; '.join(table['unfit_indexes'])}. If that is the key, give the condition of the index as "
        "where. Otherwise create a unique constraint on the key's columns."
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
