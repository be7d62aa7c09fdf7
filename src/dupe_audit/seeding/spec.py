"""Read from the catalog what a table's rows must satisfy: its columns, keys, foreign keys and checks."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from dupe_audit.postgres.driver import execute
from dupe_audit.seeding.values import Formula, Type, Types
from dupe_audit.statements import ident, statement


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSpec:
    """A column, and the formula for values of its type."""

    name: str
    not_null: bool
    always_identity: bool
    from_sequence: bool  #: numbered by a sequence, unless the INSERT gives a value
    generated: str | None  #: the expression of a generated column
    generated_from: tuple[str, ...]
    has_default: bool
    type: Type  #: the base type, if the column's own is a domain
    formula: Formula | None  #: None if the type is unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySpec:
    """Columns whose values no two rows may share."""

    columns: tuple[str, ...]
    primary: bool = False
    deferrable: bool = False
    predicate: str | None = None  #: of a partial index


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpec:
    """A condition that every row has to satisfy."""

    name: str
    expression: str
    columns: tuple[str, ...]  #: the columns it reads; a generated one is replaced by those it is computed from
    strict: bool = False  #: must be true, not NULL, like the predicate of an index


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKeySpec:
    """A foreign key from one table to another, or to itself."""

    name: str  #: schema and name, quoted
    child: int  #: oid of the referencing table
    parent: int  #: oid of the referenced table
    deferrable: bool
    columns: tuple[str, ...]
    referenced: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSpec:
    """A table, with everything that generated rows have to satisfy."""

    oid: int
    title: str  #: ``schema.table``, for messages
    name: str  #: qualified and quoted
    alias: str  #: quoted; the name by which checks may refer to the table
    rules: bool  #: has rules, which rewrite an INSERT
    columns: tuple[ColumnSpec, ...]
    keys: tuple[KeySpec, ...]
    checks: tuple[CheckSpec, ...]
    foreign_keys: tuple[ForeignKeySpec, ...]

    def column(self, name: str) -> ColumnSpec:
        """Return the column with that name.

        Raises:
            StopIteration: the table has no such column.
        """
        return next(column for column in self.columns if column.name == name)

    def inputs(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of the columns to insert; a generated one is replaced by those it is computed from."""
        inputs: list[str] = []
        for name in names:
            column = self.column(name)
            inputs += column.generated_from if column.generated is not None else [name]
        return tuple(dict.fromkeys(inputs))

    def check(
        self, name: str, expression: str, *, among: Collection[str] | None = None, strict: bool = False
    ) -> CheckSpec:
        """Return a check on this table; if *among* is given, the check reads no other columns."""
        names = [column.name for column in self.columns if among is None or column.name in among]
        columns = self.inputs(tuple(column for column in names if mentions(expression, column)))
        return CheckSpec(name=name, expression=expression, columns=columns, strict=strict)

    @property
    def primary(self) -> frozenset[str]:
        """The columns of the primary key."""
        return frozenset(name for key in self.keys if key.primary for name in key.columns)


def read(connection: Connection, types: Types, oid: int) -> TableSpec:
    """Read a table from the catalog.

    Raises:
        sqlalchemy.exc.DBAPIError: as the driver reports.
    """
    schema, table, rules = tuple(execute(connection, statement("scratch/seed_table", relid=str(oid))).one())
    columns, checks = [], []
    for row in execute(connection, statement("scratch/seed_columns", relid=str(oid))).mappings():
        column, domain_checks = _column(types, dict(row))
        columns.append(column)
        checks += domain_checks
    spec = TableSpec(
        oid=oid,
        title=f"{schema}.{table}",
        name=ident(schema, table),
        alias=ident(table),
        rules=rules,
        columns=tuple(columns),
        keys=(),
        checks=(),
        foreign_keys=foreign_keys(connection, oid, side="c.conrelid"),
    )
    for constraint in execute(connection, statement("scratch/seed_checks", relid=str(oid))).all():
        checks += [
            spec.check(constraint.name, condition, among=constraint.columns)
            for condition in conjuncts(constraint.expression)
        ]
    keys = execute(connection, statement("scratch/seed_keys", relid=str(oid))).mappings()
    return replace(
        spec,
        checks=tuple(checks),
        keys=tuple(KeySpec(**{**key, "columns": spec.inputs(tuple(key["columns"]))}) for key in keys),
    )


def table_name(connection: Connection, oid: int) -> str:
    """Return the name of a table as SQL, schema-qualified if it has to be."""
    query = f"SELECT {oid}::pg_catalog.oid::pg_catalog.regclass::pg_catalog.text"
    return str(execute(connection, query).scalar_one())


def count_rows(connection: Connection, source: str) -> int:
    """Return how many rows a table or a query has.

    Args:
        source: as FROM names it.

    Raises:
        sqlalchemy.exc.DBAPIError: it cannot be read.
    """
    return int(execute(connection, statement("scratch/count_source", source=source)).scalar_one())


def foreign_keys(connection: Connection, oid: int, *, side: str) -> tuple[ForeignKeySpec, ...]:
    """Return the foreign keys of a table (side ``c.conrelid``) or those that reference it (``c.confrelid``)."""
    rows = execute(connection, statement("scratch/seed_foreign_keys", relid=str(oid), side=side)).mappings()
    distinct: dict[tuple[object, ...], ForeignKeySpec] = {}
    for row in rows:
        fk = ForeignKeySpec(**{**row, "columns": tuple(row["columns"]), "referenced": tuple(row["referenced"])})
        # Equal foreign keys that the partitions declare one by one count as one of the whole table.
        fk = replace(fk, child=oid) if side == "c.conrelid" else replace(fk, parent=oid)
        distinct.setdefault((fk.child, fk.parent, fk.columns, fk.referenced), fk)
    return tuple(distinct.values())


def conjuncts(expression: str) -> list[str]:
    """Return the conditions that a condition joins with AND, so that each can be satisfied separately.

    The server writes BETWEEN as two comparisons, and puts parentheses around the operands of an AND.
    """
    text, parts, depth, start = expression.strip(), [], 0, 0
    tokens = list(re.finditer(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[()\[\]]|\bAND\b|\bOR\b|\bCASE\b", text))
    closes = None
    for token in tokens:
        if token[0] in ("(", "["):
            depth += 1
        elif token[0] in (")", "]"):
            depth -= 1
            closes = token.start() if depth == 0 and closes is None else closes
        elif depth == 0 and token[0] in ("OR", "CASE"):
            return [text]
        elif depth == 0 and token[0] == "AND":
            parts.append(text[start : token.start()])
            start = token.end()
    if parts:
        return [condition for part in [*parts, text[start:]] for condition in conjuncts(part)]
    if text.startswith("(") and closes == len(text) - 1:
        return conjuncts(text[1:-1])
    return [text]


def mentions(expression: str, name: str) -> bool:
    """Return whether a condition, as the server writes it, can read the column with that name."""
    expression = re.sub(r"'(?:[^']|'')*'", "''", expression)
    return ident(name) in expression or re.search(rf"(?<!\w){re.escape(name)}(?!\w)", expression) is not None


def _column(types: Types, row: dict[str, Any]) -> tuple[ColumnSpec, list[CheckSpec]]:
    oid, typmod = row.pop("type"), row.pop("typmod")
    type_, checks = types.read(oid, typmod), []
    while type_.kind == "d":
        row["not_null"] = row["not_null"] or type_.not_null
        for name, expression in type_.checks or []:
            condition = _with_column(expression, row["name"])
            checks.append(CheckSpec(name=name, expression=condition, columns=(row["name"],)))
        oid, typmod = type_.base, type_.base_typmod
        type_ = types.read(oid, typmod)
    row["generated_from"] = tuple(row["generated_from"] or ())
    return ColumnSpec(type=type_, formula=types.formula(oid, typmod), **row), checks


def _with_column(expression: str, name: str) -> str:
    """Return a domain's condition with the column in place of VALUE; quoted text is kept."""
    parts = re.split(r"('(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")", expression)
    return "".join(part if n % 2 else re.sub(r"\bVALUE\b", ident(name), part) for n, part in enumerate(parts))
