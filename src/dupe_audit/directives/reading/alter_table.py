"""Read from ALTER TABLE, and from the definition of a constraint, what it changes about uniqueness."""

from __future__ import annotations

import re
from typing import Any

from dupe_audit.directives.reading.changes import (
    Gone,
    NewColumn,
    NewKey,
    NewName,
    NewRows,
    Renamed,
    Retyped,
    SchemaChange,
)
from dupe_audit.directives.reading.sql_text import (
    IDENT,
    NAME,
    column_list,
    elements,
    parenthesised,
    qualified,
    unquoted,
)

_CONSTRAINT = re.compile(
    rf"(?:CONSTRAINT\s+(?P<name>{IDENT})\s+)?(?P<kind>UNIQUE|PRIMARY\s+KEY|EXCLUDE|FOREIGN\s+KEY|CHECK|NOT\s+NULL)\b"
    rf"\s*(?P<nulls>NULLS\s+NOT\s+DISTINCT|NULLS\s+DISTINCT)?\s*(?P<rest>.*)",
    re.IGNORECASE,
)


def constraint_changes(schema: str | None, table: str, text: str, statement: str) -> list[SchemaChange] | None:
    """Return what the definition of a table's constraint changes; None if it is not one that can be read."""
    match = _CONSTRAINT.fullmatch(text)
    if match is None:
        return None
    name, kind = match["name"] and unquoted(match["name"]), match["kind"].split()[0].upper()
    if kind in ("FOREIGN", "CHECK", "NOT"):
        return [NewName(schema=schema, table=table, name=name)]
    if kind == "EXCLUDE":
        return [NewKey(schema=schema, table=table, name=name, columns=None, sql=statement)]
    if index := re.match(rf"USING\s+INDEX\s+({IDENT})", match["rest"], re.IGNORECASE):
        # The index already makes the rows unique; it takes the name of the constraint.
        old = unquoted(index[1])
        return [Renamed(kind="name", schema=schema, table=table, name=old, new=name or old)]
    content = parenthesised(match["rest"])
    columns = column_list(content[0]) if content else None
    if columns is None:
        return None
    return [
        NewKey(
            schema=schema,
            table=table,
            name=name,
            columns=columns,
            nulls_not_distinct=bool(match["nulls"]) and "not" in match["nulls"].lower().split(),
            primary=kind == "PRIMARY",
            sql=statement,
        )
    ]


def alter_table(match: re.Match[str], statement: str) -> list[SchemaChange] | None:
    """Return what ALTER TABLE changes; None if one of its actions cannot be read."""
    schema, table = qualified(match["table"])
    result: list[SchemaChange] = []
    for action in elements(match["rest"]):
        change = _action_changes(schema, table, action, statement)
        if change is None:
            return None
        result += change
    return result


_ACTIONS = {
    "drop constraint": rf"DROP\s+CONSTRAINT\s+(?:IF\s+EXISTS\s+)?({IDENT}).*",
    "rename constraint": rf"RENAME\s+CONSTRAINT\s+({IDENT})\s+TO\s+({IDENT})",
    "rename": rf"RENAME\s+TO\s+({IDENT})",
    "move": rf"SET\s+SCHEMA\s+({IDENT})",
    "rename column": rf"RENAME\s+(?:COLUMN\s+)?({IDENT})\s+TO\s+({IDENT})",
    "drop column": rf"DROP\s+(?:COLUMN\s+)?(?:IF\s+EXISTS\s+)?({IDENT})(?:\s+(?:CASCADE|RESTRICT))?",
}


_RETYPE = re.compile(
    rf"ALTER\s+(?:COLUMN\s+)?(?P<column>{IDENT})\s+(?:SET\s+DATA\s+)?TYPE\s+(?P<type>.+?)(?:\s+USING\s+(?P<using>.+))?",
    re.IGNORECASE,
)
_ATTACH = re.compile(rf"ATTACH\s+PARTITION\s+(?P<partition>{NAME})\s.*", re.IGNORECASE)


def _action_changes(schema: str | None, table: str, action: str, statement: str) -> list[SchemaChange] | None:
    if match := re.match(r"ADD\s+", action, re.IGNORECASE):
        return _addition_changes(schema, table, action[match.end() :], statement)
    where: dict[str, Any] = {"schema": schema, "table": table}
    if match := _RETYPE.fullmatch(action):
        return [Retyped(column=unquoted(match["column"]), type=match["type"], using=match["using"], **where)]
    if match := _ATTACH.fullmatch(action):
        return [NewRows(rows=True, partition=qualified(match["partition"]), sql=statement, **where)]
    for kind, pattern in _ACTIONS.items():
        if match := re.fullmatch(pattern, action, re.IGNORECASE):
            first, second = [*(unquoted(name) for name in match.groups()), ""][:2]
            readings: dict[str, SchemaChange] = {
                "drop constraint": Gone(kind="name", name=first, **where),
                "rename constraint": Renamed(kind="name", name=first, new=second, **where),
                "rename": Renamed(kind="table", name=table, new=first, **where),
                "move": Renamed(kind="table", name=table, new=table, new_schema=first, **where),
                "rename column": Renamed(kind="column", name=first, new=second, **where),
                "drop column": Gone(kind="column", name=first, **where),
            }
            return [readings[kind]]
    return []  # such as OWNER TO, SET, ALTER COLUMN … SET DEFAULT


def _addition_changes(schema: str | None, table: str, text: str, statement: str) -> list[SchemaChange] | None:
    if _CONSTRAINT.match(text):
        return constraint_changes(schema, table, text, statement)
    match = re.match(rf"(?:COLUMN\s+)?(?:IF\s+NOT\s+EXISTS\s+)?({IDENT})\s+", text, re.IGNORECASE)
    if match is None:
        return None
    column, rest = unquoted(match[1]), text[match.end() :]
    has_default = re.search(r"\b(?:DEFAULT|GENERATED|(?:small|big)?serial)\b", rest, re.IGNORECASE) is not None
    result: list[SchemaChange] = [NewColumn(schema=schema, table=table, column=column, has_default=has_default)]
    if kind := re.search(r"\bUNIQUE\b|\bPRIMARY\s+KEY\b", rest, re.IGNORECASE):
        primary = kind[0].upper() != "UNIQUE"
        result.append(NewKey(schema=schema, table=table, name=None, columns=(column,), primary=primary, sql=statement))
    return result
