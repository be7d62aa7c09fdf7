"""What has to be filled: a table's columns, keys, foreign keys and checks, read from the catalog."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from dupe_audit.postgres.driver import execute
from dupe_audit.seeding.values import Type, Types, Values
from dupe_audit.statements import ident, statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column, and the values that its type gives it."""

    name: str
    not_null: bool
    always_identity: bool
    counted: bool  #: numbered by a sequence
    generated: str | None
    generated_from: tuple[str, ...]
    has_default: bool
    type: Type  #: below its domains
    values: Values | None  #: None where the type is not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Columns that no two rows may share."""

    columns: tuple[str, ...]
    primary: bool = False
    deferrable: bool = False
    predicate: str | None = None  #: of a partial index


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A condition that every row has to meet."""

    name: str
    expression: str
    columns: tuple[str, ...]  #: that it reads, without generated ones
    strict: bool = False  #: unknown is not good enough, as for the predicate of an index


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A foreign key of one table to another, or to itself."""

    name: str
    child: int
    parent: int
    deferrable: bool
    columns: tuple[str, ...]
    referenced: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A table, as far as rows for it have to be made."""

    oid: int
    title: str  #: ``schema.table``, for people
    name: str  #: qualified and quoted
    alias: str  #: quoted, as checks may call it
    rules: bool  #: rewrite what is inserted
    columns: tuple[Column, ...]
    keys: tuple[Key, ...]
    checks: tuple[Check, ...]
    foreign_keys: tuple[ForeignKey, ...]

    def column(self, name: str) -> Column:
        """Return the column of that name. Raises StopIteration where there is none."""
        return next(one for one in self.columns if one.name == name)

    def written(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the columns behind these: what a generated one is made from, in its place."""
        found: list[str] = []
        for name in names:
            column = self.column(name)
            found += column.generated_from if column.generated is not None else [name]
        return tuple(dict.fromkeys(found))

    def check(self, name: str, expression: str, *, among: Collection[str] | None = None, strict: bool = False) -> Check:
        """Return a check of this table, which reads no columns but those *among* which it is."""
        names = [column.name for column in self.columns if among is None or column.name in among]
        read = tuple(one for one in names if mentions(expression, one))
        return Check(name=name, expression=expression, columns=self.written(read), strict=strict)

    @property
    def primary(self) -> frozenset[str]:
        """The columns of the primary key."""
        return frozenset(name for key in self.keys if key.primary for name in key.columns)


def read(connection: Connection, types: Types, oid: int) -> Spec:
    """Read a table from the catalog."""
    row = execute(
        connection,
        "SELECT n.nspname, c.relname, c.relhasrules FROM pg_catalog.pg_class c "
        f"JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = {oid}",
    ).one()
    schema, table, rules = tuple(row)
    columns, checks = [], []
    for described in execute(connection, statement("scratch/seed_columns", relid=str(oid))).mappings():
        column, of_domain = _column(types, dict(described))
        columns.append(column)
        checks += of_domain
    spec = Spec(
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
    for one in execute(connection, statement("scratch/seed_checks", relid=str(oid))).all():
        checks += [spec.check(one.name, part, among=one.columns) for part in conjuncts(one.expression)]
    keys = execute(connection, statement("scratch/seed_keys", relid=str(oid))).mappings()
    return replace(
        spec,
        checks=tuple(checks),
        keys=tuple(Key(**{**key, "columns": spec.written(tuple(key["columns"]))}) for key in keys),
    )


def foreign_keys(connection: Connection, oid: int, *, side: str) -> tuple[ForeignKey, ...]:
    """Return the foreign keys of a table (``c.conrelid``) or those that point at it (``c.confrelid``)."""
    rows = execute(connection, statement("scratch/seed_foreign_keys", relid=str(oid), side=side)).mappings()
    found: dict[tuple[object, ...], ForeignKey] = {}
    for row in rows:
        fk = ForeignKey(**{**row, "columns": tuple(row["columns"]), "referenced": tuple(row["referenced"])})
        # What partitions declare alike, each for itself, is one foreign key of the whole.
        fk = replace(fk, child=oid) if side == "c.conrelid" else replace(fk, parent=oid)
        found.setdefault((fk.child, fk.parent, fk.columns, fk.referenced), fk)
    return tuple(found.values())


def conjuncts(expression: str) -> list[str]:
    """Return the conditions that a condition joins by AND, so that each can be met for itself.

    The server writes BETWEEN as two comparisons, and parentheses around whatever is within an AND.
    """
    text, parts, depth, begins = expression.strip(), [], 0, 0
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
            parts.append(text[begins : token.start()])
            begins = token.end()
    if parts:
        return [deeper for part in [*parts, text[begins:]] for deeper in conjuncts(part)]
    if text.startswith("(") and closes == len(text) - 1:
        return conjuncts(text[1:-1])
    return [text]


def mentions(expression: str, name: str) -> bool:
    """Return whether a condition, as the server writes it, can read that column."""
    expression = re.sub(r"'(?:[^']|'')*'", "''", expression)
    return ident(name) in expression or re.search(rf"(?<!\w){re.escape(name)}(?!\w)", expression) is not None


def _column(types: Types, row: dict[str, Any]) -> tuple[Column, list[Check]]:
    oid, typmod = row.pop("type"), row.pop("typmod")
    type_, checks = types.read(oid, typmod), []
    while type_.kind == "d":
        row["not_null"] = row["not_null"] or type_.not_null
        for check, expression in type_.checks or []:
            checks.append(Check(name=check, expression=_of_column(expression, row["name"]), columns=(row["name"],)))
        oid, typmod = type_.base, type_.base_typmod
        type_ = types.read(oid, typmod)
    row["generated_from"] = tuple(row["generated_from"] or ())
    return Column(type=type_, values=types.values(oid, typmod), **row), checks


def _of_column(expression: str, name: str) -> str:
    """Return a domain's condition as one on a column; what is in quotes stays."""
    parts = re.split(r"('(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")", expression)
    return "".join(part if n % 2 else re.sub(r"\bVALUE\b", ident(name), part) for n, part in enumerate(parts))
