"""Read from what a revision executes, a SQLAlchemy construct or text, what it changes about tables and uniqueness."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from alembic.ddl import base as alembic_ddl
from alembic.ddl.postgresql import PostgresqlColumnType
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import CompileError
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateTable, DropConstraint, DropIndex, DropTable
from sqlalchemy.sql.elements import UnaryExpression

from dupe_audit.directives.arguments import elements, predicate, unescaped
from dupe_audit.directives.reading.changes import (
    Gone,
    NewColumn,
    NewKey,
    NewName,
    NewTable,
    Renamed,
    Retyped,
    SchemaChange,
    Unclear,
)
from dupe_audit.directives.reading.raw_sql import changes_of_text
from dupe_audit.directives.reading.sql_text import is_complete
from dupe_audit.errors import WrongUsage
from dupe_audit.model import Expression

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def changes_of_construct(construct: Any) -> list[SchemaChange]:  # noqa: PLR0911 - one for each kind of construct
    """Return what a construct changes; an empty list if it is not about tables and their uniqueness."""
    if isinstance(construct, sa.TextClause):
        return changes_of_text(unescaped(construct))
    if isinstance(construct, CreateTable):
        return _new_table_changes(construct.element)
    if isinstance(construct, CreateIndex):
        return [_index_change(construct.element)]
    if isinstance(construct, AddConstraint):
        return [_constraint_change(construct.element)]
    if isinstance(construct, DropTable | DropConstraint | DropIndex):
        return _removal_changes(construct)
    if isinstance(construct, alembic_ddl.AlterTable) and type(construct).__module__.startswith("alembic."):
        return _column_changes(construct)
    return _other_changes(construct)


def _other_changes(construct: Any) -> list[SchemaChange]:
    """Return what the text of any other construct changes; if it has none, it may change anything."""
    if isinstance(construct, sa.Insert) and construct.select is None:
        return []  # its rows are written in the revision; each of a bulk insert is a statement
    try:
        text = str(construct.compile(dialect=_DIALECT))
    except Exception:  # noqa: BLE001 - the code of a construct can belong to the project
        if getattr(construct, "is_dml", False) or getattr(construct, "is_select", False):
            return []
        statement = getattr(construct, "statement", None)  # of sa.DDL
        name = f"a construct of type {type(construct).__name__} that cannot be compiled for PostgreSQL"
        return changes_of_text(statement) if isinstance(statement, str) else [Unclear(text=name, declares=True)]
    return changes_of_text(text)


def _new_table_changes(table: sa.Table) -> list[SchemaChange]:
    keys = [
        constraint
        for constraint in sorted(table.constraints, key=lambda constraint: str(constraint.name))
        # The primary key of a new table is part of the table.
        if not isinstance(constraint, sa.PrimaryKeyConstraint)
    ]
    inline = [
        replace(change, inline=True) if isinstance(change, NewKey) else change
        for change in map(_constraint_change, keys)
    ]
    return [NewTable(schema=table.schema, table=table.name), *inline]


def _constraint_change(constraint: Any) -> SchemaChange:
    table = constraint.table
    name = _name(constraint)
    if isinstance(constraint, sa.UniqueConstraint | sa.PrimaryKeyConstraint):
        options = constraint.dialect_options["postgresql"]
        return NewKey(
            schema=table.schema,
            table=table.name,
            name=name,
            columns=tuple(column.name for column in constraint.columns),
            nulls_not_distinct=isinstance(constraint, sa.UniqueConstraint) and bool(options["nulls_not_distinct"]),
            primary=isinstance(constraint, sa.PrimaryKeyConstraint),
            sql=_sql(AddConstraint(constraint)),
        )
    if isinstance(constraint, postgresql.ExcludeConstraint):
        sql = _sql(AddConstraint(constraint))
        return NewKey(schema=table.schema, table=table.name, name=name, columns=None, sql=sql)
    return NewName(schema=table.schema, table=table.name, name=name)


def _index_change(index: Any) -> SchemaChange:
    table, name = index.table, _name(index)
    if not index.unique:
        return NewName(schema=table.schema, table=table.name, name=name)
    options = index.dialect_options["postgresql"]
    columns = [_column(expression) for expression in index.expressions]
    readable = options["where"] is None and None not in columns
    parts, where = (None, None) if readable or options["ops"] else _elements_and_predicate(index)
    return NewKey(
        schema=table.schema,
        table=table.name,
        name=name,
        columns=tuple(map(str, columns)) if readable else None,
        elements=parts,
        where=where,
        nulls_not_distinct=bool(options["nulls_not_distinct"]),
        sql=_sql(CreateIndex(index)),
    )


def _elements_and_predicate(index: Any) -> tuple[tuple[str | Expression, ...] | None, str | None]:
    """Return what an index compares, and for which rows; None if that cannot be read."""
    parts = [_without_order(expression) for expression in index.expressions]
    # In the text of an expression, an operator class or an order could follow it.
    if not all(is_complete(part.text) for part in parts if isinstance(part, sa.TextClause)):
        return None, None
    try:
        where = predicate("postgresql_where", index.dialect_options["postgresql"]["where"])
        return elements("columns", parts), where
    except WrongUsage:
        return None, None


def _without_order(expression: Any) -> Any:
    """Return an element of an index without its order, and as text if it is text."""
    while isinstance(expression, UnaryExpression) and expression.modifier is not None:
        expression = expression.element
    text = getattr(expression, "text", None)
    return text if isinstance(text, sa.TextClause) else expression


def _column(expression: Any) -> str | None:
    """Return the name of the column that an index compares, or None for an expression; its order does not matter."""
    expression = _without_order(expression)
    return str(expression.name) if isinstance(expression, sa.Column) else None


def _removal_changes(construct: Any) -> list[SchemaChange]:
    if isinstance(construct, DropTable):
        return [Gone(kind="table", schema=construct.element.schema, table=construct.element.name, name="")]
    if isinstance(construct, DropConstraint | DropIndex):
        element = construct.element
        if isinstance(element, sa.ForeignKeyConstraint | sa.CheckConstraint):
            return []
        table = getattr(element, "table", None)
        schema = getattr(table, "schema", None)
        # op.drop_index() without a table makes one up.
        table_name = None if table is None or table.name == "no_table" else str(table.name)
        if name := _name(element):
            return [Gone(kind="name", schema=schema, table=table_name, name=name)]
    return []


def _column_changes(construct: Any) -> list[SchemaChange]:
    where: dict[str, Any] = {"schema": construct.schema, "table": str(construct.table_name)}
    if isinstance(construct, alembic_ddl.RenameTable):
        return [Renamed(kind="table", name=where["table"], new=str(construct.new_table_name), **where)]
    if isinstance(construct, alembic_ddl.AddColumn):
        column = construct.column
        has_default = column.server_default is not None or column.identity is not None or column.computed is not None
        return [NewColumn(column=column.name, has_default=has_default, **where)]
    if isinstance(construct, alembic_ddl.DropColumn):
        return [Gone(kind="column", name=construct.column.name, **where)]
    if isinstance(construct, alembic_ddl.ColumnName):
        return [Renamed(kind="column", name=str(construct.column_name), new=str(construct.newname), **where)]
    if isinstance(construct, alembic_ddl.ColumnType | PostgresqlColumnType):
        using = getattr(construct, "using", None)
        return [
            Retyped(
                column=str(construct.column_name),
                type=_type(construct.type_),
                using=None if using is None else str(using),
                **where,
            )
        ]
    return []


def _type(type_: Any) -> str | None:
    try:
        return str(_DIALECT.type_compiler_instance.process(type_))
    except CompileError:
        return None


def _name(element: Any) -> str | None:
    """Return the name that a constraint or an index gets: by the naming convention, shortened as SQLAlchemy does."""
    if element.name is None:
        return None
    name = _DIALECT.identifier_preparer.format_constraint(element, _alembic_quote=False)
    return None if name is None else str(name)


def _sql(construct: Any) -> str:
    return " ".join(str(construct.compile(dialect=_DIALECT)).split())
