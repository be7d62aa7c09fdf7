"""Which objects ``include_name`` and ``include_object`` of env.py let Alembic compare; only those are judged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from alembic.autogenerate.api import AutogenContext
from alembic.runtime.environment import NameFilterParentNames
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, MetaData, Table, UniqueConstraint, text
from sqlalchemy import Index as SQLAlchemyIndex
from sqlalchemy.schema import SchemaItem

from dupe_audit.checks.models.keys import ModelKey
from dupe_audit.errors import DupeAuditError
from dupe_audit.schema.facts import Index

#: the schema that Alembic passes as None
_DEFAULT_SCHEMA = "public"


class Included:
    """The two filters of ``context.configure()``, called as autogenerate calls them."""

    def __init__(
        self, include_object: Callable[..., Any] | None = None, include_name: Callable[..., Any] | None = None
    ) -> None:
        options = {"include_object": include_object, "include_name": include_name}
        previous_level = logging.root.manager.disable
        logging.disable(logging.INFO)  # Alembic announces each context, and env.py may have set up its logger
        try:
            context = MigrationContext.configure(dialect_name="postgresql", opts=options)
        finally:
            logging.disable(previous_level)
        self._filters = AutogenContext(context, autogenerate=False)

    def table(self, model: Table, schema: str) -> bool:
        """Return whether a table of the models is compared.

        Args:
            model: the table as the models declare it.
            schema: the database's schema that contains it.

        Raises:
            DupeAuditError: a filter raised an error.
        """
        name = str(model.name)
        with _blaming("include_name"):
            included = self._filters.run_name_filters(name, "table", {"schema_name": _alembic_schema(schema)})
        if not included:
            return False
        reflected = Table(name, MetaData(), schema=_alembic_schema(schema))
        with _blaming("include_object"):
            return self._filters.run_object_filters(model, name, "table", False, reflected)

    def key(self, model_key: ModelKey | None, index: Index | None, table: str) -> bool:
        """Return whether a key of the models, an index of the database, or a pair of both is compared.

        A primary key always is: Alembic asks no filter about it, only about its table.

        Args:
            model_key: None if only the database has it.
            index: None if only the models have it.
            table: name of the table, without its schema.

        Raises:
            DupeAuditError: a filter raised an error.
        """
        if model_key is not None:
            kind: str = model_key.kind
        else:
            assert index is not None  # noqa: S101 - at least one of the two is given
            kind = index.kind
        if kind == "primary key":
            return True
        type_: Literal["unique_constraint", "index"] = "unique_constraint" if kind == "constraint" else "index"
        reflected = None
        if index is not None:
            parents: NameFilterParentNames = {"schema_name": _alembic_schema(index.schema), "table_name": table}
            with _blaming("include_name"):
                included = self._filters.run_name_filters(index.name, type_, parents)
            if not included:
                return False
            reflected = _reflected(index, table)
        with _blaming("include_object"):
            if model_key is not None:
                item = model_key.item
                return self._filters.run_object_filters(item, item.name, type_, False, reflected)
            assert index is not None  # noqa: S101 - as above
            assert reflected is not None  # noqa: S101 - as above
            name = index.constraint or index.name
            return self._filters.run_object_filters(reflected, name, type_, True, None)


@contextmanager
def _blaming(filter_name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise DupeAuditError(
            f"{filter_name} of the project's env.py raised {type(error).__name__}: {error}. "
            "Fix it: alembic check calls it with the same arguments."
        ) from error


def _alembic_schema(name: str) -> str | None:
    return None if name == _DEFAULT_SCHEMA else name


def _reflected(index: Index, table: str) -> SchemaItem:
    """Return the object that SQLAlchemy would have reflected, with only those columns of its table that it reads."""
    if index.constraint:
        unique: SchemaItem = UniqueConstraint(*filter(None, index.columns), name=index.constraint)
    else:
        parts = [column or text(key) for column, key in zip(index.columns, index.elements, strict=True)]
        unique = SQLAlchemyIndex(index.name, *parts, unique=True)
    columns: list[Column[Any]] = [Column(name) for name in dict.fromkeys((*filter(None, index.columns), *index.reads))]
    Table(table, MetaData(), *columns, unique, schema=_alembic_schema(index.schema))
    return unique
