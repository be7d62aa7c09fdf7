"""What a plain statement of a revision can change: which table, and whether its definition or its rows alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

#: raw statements that change no table; any other is assumed to change anything
_HARMLESS = re.compile(
    r"\s*(?:(?:SET|RESET)\s+(?:SESSION\s+|LOCAL\s+)?\w*(?:timeout|work_mem|synchronous_commit)\b"
    r"|COMMENT\s+ON\b|ANALYZE\b|VACUUM\b)[^;]*;?\s*",
    re.IGNORECASE,
)
#: raw statements that change rows alone; triggers that alter tables are not considered
_ROWS = re.compile(r"\s*(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\b[^;]*;?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a statement can change."""

    tables: frozenset[tuple[str | None, str]] | None  #: schema and name; None: any table
    definition: bool  #: whether more than rows can change

    def concerns(self, schema: str | None, table: str) -> bool:
        """Return whether it can change that table; a schema that is not named could be any."""
        if self.tables is None:
            return True
        return any(
            name == table and (schema is None or other is None or other == schema) for other, name in self.tables
        )


NOTHING = Effect(tables=frozenset(), definition=False)
ANYTHING = Effect(tables=None, definition=True)


def effect(construct: Any) -> Effect:
    """Return what a statement of Alembic's operations can change.

    Args:
        construct: a SQLAlchemy construct, such as ``text()``.
    """
    text = getattr(construct, "text", None)
    if isinstance(text, str):
        if _HARMLESS.fullmatch(text):
            return NOTHING
        return Effect(tables=None, definition=False) if _ROWS.fullmatch(text) else ANYTHING
    if getattr(construct, "is_dml", False):
        return Effect(tables=_tables(construct), definition=False)
    tables = _tables(construct)
    return Effect(tables=tables, definition=True) if tables else ANYTHING


def _tables(construct: Any) -> frozenset[tuple[str | None, str]] | None:
    """Return the tables of a construct; None if it does not show them."""
    if name := getattr(construct, "table_name", None):  # Alembic's own, such as AddColumn
        schema = getattr(construct, "schema", None)
        names = [name, getattr(construct, "new_table_name", None) or name]
        return frozenset((_text(schema), str(table)) for table in names)
    table = getattr(construct, "table", None)
    if table is None:
        element = getattr(construct, "element", None)  # SQLAlchemy's, such as AddConstraint and CreateTable
        table = getattr(element, "table", None)
        if table is None:
            table = element if hasattr(element, "columns") and hasattr(element, "schema") else None
    name = getattr(table, "name", None)
    return None if name is None else frozenset({(_text(getattr(table, "schema", None)), str(name))})


def _text(schema: object) -> str | None:
    return None if schema is None else str(schema)
