"""What env.py's ``include_name`` and ``include_object`` let Alembic compare; the rest is somebody else's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, MetaData, Table, UniqueConstraint, text
from sqlalchemy import Index as SQLAlchemyIndex
from sqlalchemy.schema import SchemaItem

from dupe_audit.checks.models.declared import Declared
from dupe_audit.errors import DupeAuditError
from dupe_audit.schema.facts import Index

#: the schema for which Alembic says None
_DEFAULT = "public"


@dataclass(frozen=True, slots=True)
class Included:
    """The two filters of ``context.configure()``, asked as autogenerate asks them."""

    include_object: Callable[..., Any] | None = None
    include_name: Callable[..., Any] | None = None

    def table(self, model: Table, schema: str) -> bool:
        """Tell whether a table of the models, which is in that schema of the database, is compared."""
        name = str(model.name)
        return self._name(name, "table", {"schema_name": _schema(schema)}) and self._object(
            model, name, "table", False, Table(name, MetaData(), schema=_schema(schema))
        )

    def pair(self, one: Declared | None, index: Index | None, table: str) -> bool:
        """Tell whether a table's uniqueness of the models, of the database, or of both is compared.

        A primary key always is: Alembic has no question for it but the one about its table.
        """
        if (one is not None and one.kind == "primary key") or (one is None and index is not None and index.primary):
            return True
        kind = (one and one.kind) or ("constraint" if index is not None and index.constraint else "index")
        type_ = "unique_constraint" if kind == "constraint" else "index"
        if index is not None:
            parents = {"schema_name": _schema(index.schema), "table_name": table}
            if not self._name(index.name, type_, parents):
                return False
        theirs = None if index is None else _like(index, table)
        if one is None:
            assert index is not None  # noqa: S101 - one of both is there
            return self._object(theirs, index.constraint or index.name, type_, True, None)
        return self._object(one.item, one.item.name, type_, False, theirs)

    def _name(self, name: str, type_: str, parents: dict[str, str | None]) -> bool:
        if self.include_name is None:
            return True
        table = name if type_ == "table" else parents["table_name"]
        parents["schema_qualified_table_name"] = ".".join(filter(None, (parents["schema_name"], table)))
        return _asked("include_name", self.include_name, name, type_, parents)

    def _object(self, item: SchemaItem | None, name: str | None, *how: Any) -> bool:
        if self.include_object is None:
            return True
        return _asked("include_object", self.include_object, item, name, *how)


def _asked(which: str, function: Callable[..., Any], *arguments: Any) -> bool:
    try:
        return bool(function(*arguments))
    except Exception as error:
        raise DupeAuditError(
            f"{which} of the project's env.py raised {type(error).__name__}: {error}. "
            "Mend that; alembic check asks it the same."
        ) from error


def _schema(name: str) -> str | None:
    return None if name == _DEFAULT else name


def _like(index: Index, table: str) -> SchemaItem:
    """Return what SQLAlchemy would have reflected, with no more of its table than the index reads."""
    if index.constraint:
        unique: SchemaItem = UniqueConstraint(*filter(None, index.columns), name=index.constraint)
    else:
        parts = [column or text(key) for column, key in zip(index.columns, index.keys, strict=True)]
        unique = SQLAlchemyIndex(index.name, *parts, unique=True)
    columns: list[Column[Any]] = [Column(name) for name in dict.fromkeys((*filter(None, index.columns), *index.uses))]
    Table(table, MetaData(), *columns, unique, schema=_schema(index.schema))
    return unique
