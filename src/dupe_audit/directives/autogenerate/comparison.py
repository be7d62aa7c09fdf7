"""Compare unique indexes by the planner: the catalog prints expressions differently from the models.

Alembic compares the texts of expressions, and neither the predicate of an index nor its INCLUDE columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, ops
from sqlalchemy import Connection, Index, Table
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.directives.autogenerate.keys import final_name, index_key
from dupe_audit.errors import WrongUsage
from dupe_audit.model import Expression, UniqueKey
from dupe_audit.postgres import catalog, elements
from dupe_audit.postgres.sqlstates import SYNTAX_ERROR, reason, sqlstate


def compare(context: AutogenContext, table: ops.ModifyTableOps, existing: Table, declared: Table) -> None:
    """Correct what Alembic says about the unique indexes of a table that keep their names.

    Args:
        table: the changes of the table, which are corrected in place.
        existing: the table in the database.
        declared: the table in the models.
    """
    connection, dialect = _connection(context), context.migration_context.dialect
    names = {str(index.name): index for index in existing.indexes}
    parents = {"table_name": str(declared.name), "schema_name": table.schema}
    for index in sorted(declared.indexes, key=lambda index: str(index.name)):
        old = names.get(str(final_name(index, dialect)))
        if not index.unique or old is None or not context.run_name_filters(old.name, "index", parents):  # type: ignore[arg-type]
            continue
        try:
            key = declared_key(context, index)
        except WrongUsage:
            continue  # left to Alembic
        changes = [operation for operation in table.ops if _changes(operation, old, index)]
        if _is_enforced(connection, key, str(old.name)):
            table.ops[:] = [operation for operation in table.ops if operation not in changes]
        elif not changes and context.run_object_filters(index, index.name, "index", False, old):
            table.ops += [ops.DropIndexOp.from_index(old), ops.CreateIndexOp.from_index(index)]


def declared_key(context: AutogenContext, index: Index) -> UniqueKey:
    """Return the key of a unique index of the models.

    Raises:
        WrongUsage: the directives cannot create it.
    """
    key, connection = index_key(index, context.migration_context.dialect), _connection(context)
    with undisturbed(connection):
        try:
            if not key.is_plain and (source := _source(connection, key)):
                elements.describe(connection, source, [*filter(None, key.expressions), *filter(None, [key.where])])
        except DBAPIError as error:
            # What does not exist, such as a column, this revision can add.
            if sqlstate(error) == SYNTAX_ERROR:
                raise WrongUsage(
                    f"PostgreSQL cannot read its elements as expressions ({reason(error)}). A sort order or an "
                    "operator class in the text of an expression is not supported."
                ) from None
    return key


def spelled(context: AutogenContext, key: UniqueKey, enforced: Sequence[UniqueKey]) -> UniqueKey:
    """Return a key of the catalog with the expressions and the predicate as the new keys or its run write them.

    A restore uses this text to find the run that archived the rows.
    """
    if key.is_plain:
        return key
    connection = _connection(context)
    models = [replace(key, columns=other.columns, where=other.where) for other in (*enforced, *_runs(connection, key))]
    for model in models:
        if _is_enforced(connection, model, str(key.name)):
            return model
    expressions = [column for model in models for column in model.columns if isinstance(column, Expression)]
    predicates = [Expression(model.where) for model in models if model.where]
    columns = tuple(
        _as_written(connection, key, column, expressions) if isinstance(column, Expression) else column
        for column in key.columns
    )
    where = _as_written(connection, key, Expression(key.where), predicates).sql if key.where else None
    return replace(key, columns=columns, where=where)


@contextmanager
def undisturbed(connection: Connection) -> Iterator[None]:
    """Keep an error from ending the transaction in which Alembic reads the catalog."""
    if getattr(connection.connection.dbapi_connection, "autocommit", False) is True:
        yield
        return
    savepoint = connection.begin_nested()
    try:
        yield
    finally:
        savepoint.rollback()


def _connection(context: AutogenContext) -> Connection:
    connection = context.connection
    assert connection is not None  # noqa: S101 - without one, Alembic compares nothing
    return connection


def _changes(operation: MigrateOperation, old: Index, new: Index) -> bool:
    if isinstance(operation, ops.DropIndexOp):
        return operation.index_name == old.name
    return isinstance(operation, ops.CreateIndexOp) and operation.index_name == new.name


def _is_enforced(connection: Connection, key: UniqueKey, name: str) -> bool:
    """Return whether the index of that name is exactly what *key* asks for."""
    with undisturbed(connection):
        match = catalog.find(connection, key)
        if match is None:
            return False
        state = catalog.index_state(connection, match[1].relid, replace(match[0], name=name))
    return bool(state and state.same_definition and state.constraint is None)


def _runs(connection: Connection, key: UniqueKey) -> list[UniqueKey]:
    """Return the key of the run whose index has the name of *key*, if the ledger can be read."""
    with undisturbed(connection):
        try:
            match = catalog.find(connection, key)
            run = ledger.find_by_constraint(connection, match[1].relid, str(key.name)) if match else None
        except DBAPIError:
            return []
    return [replace(key, columns=run.key_columns, where=run.where)] if run else []


def _as_written(
    connection: Connection, key: UniqueKey, expression: Expression, candidates: Sequence[Expression]
) -> Expression:
    for candidate in dict.fromkeys(candidates):
        with undisturbed(connection):
            try:
                source = _source(connection, key)
                if source and elements.is_same(connection, source, [(expression.sql, candidate.sql)]):
                    return candidate
            except DBAPIError:
                continue  # it reads a column that this revision adds
    return expression


def _source(connection: Connection, key: UniqueKey) -> str | None:
    match = catalog.find(connection, key)
    return elements.aliased(match[1].table, match[1].schema) if match else None
