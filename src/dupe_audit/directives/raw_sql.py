"""Read from SQL text what it changes about tables and their uniqueness: the common forms, and what else may do it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dupe_audit.directives.changes import (
    Change,
    Gone,
    NewColumn,
    NewKey,
    NewName,
    NewTable,
    Renamed,
    Retyped,
    Unclear,
)
from dupe_audit.directives.sql_text import (
    IDENT,
    NAME,
    elements,
    index_elements,
    parenthesised,
    qualified,
    statements,
    unquoted,
)
from dupe_audit.directives.sql_text import columns as columns_of

_UNIQUENESS = re.compile(r"\bUNIQUE\b|\bPRIMARY\s+KEY\b|\bEXCLUDE\s*(?:USING\b|\()", re.IGNORECASE)
_REMOVAL = re.compile(r"\b(?:DROP|RENAME)\b|\bSET\s+SCHEMA\b", re.IGNORECASE)

#: statements that change no table's definition, although their text may mention uniqueness
_HARMLESS = re.compile(
    r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE|TRIGGER|EVENT|RULE|VIEW|MATERIALIZED|AGGREGATE)\b"
    r"|DROP\s+(?!TABLE|INDEX|SCHEMA|OWNED)\w+"
    r"|(?:INSERT|UPDATE|DELETE|MERGE|SELECT|WITH|COPY|GRANT|REVOKE|LOCK|ANALYZE|VACUUM|REINDEX|REFRESH|SET|COMMENT)\b",
    re.IGNORECASE,
)


def changes(text: str) -> list[Change]:
    """Return what the statements of a text change, in their order."""
    result: list[Change] = []
    for statement, bodies in statements(text):
        result += _of_statement(statement, bodies)
    return result


def _of_statement(statement: str, bodies: str) -> list[Change]:
    if _HARMLESS.match(statement):
        return []
    for pattern, read in _FORMS:
        if match := pattern.match(statement):
            result = read(match, statement)
            if result is not None:
                return result
            break
    whole = f"{statement} {bodies}"
    if _UNIQUENESS.search(whole) or _REMOVAL.search(whole):
        return [Unclear(text=whole, declares=bool(_UNIQUENESS.search(whole)))]
    return []


def _create_index(match: re.Match[str], statement: str) -> list[Change] | None:
    schema, table = qualified(match["table"])
    name = unquoted(match["name"]) if match["name"] else None
    if not match["unique"]:
        return [NewName(schema=schema, table=table, name=name)]
    if (content := parenthesised(match["rest"])) is None:
        return None
    keys, options = content
    options, _, where = re.sub(r"\bWHERE\b", "WHERE", options, count=1, flags=re.IGNORECASE).partition("WHERE")
    plain = None if where else columns_of(keys)
    readable = plain is None and "''" not in keys + where  # strings are taken out of the text
    return [
        NewKey(
            schema=schema,
            table=table,
            name=name,
            columns=plain,
            elements=index_elements(keys) if readable else None,
            where=where.strip() or None if readable else None,
            nulls_not_distinct=bool(re.search(r"\bNULLS\s+NOT\s+DISTINCT\b", options, re.IGNORECASE)),
            sql=statement,
        )
    ]


def _create_table(match: re.Match[str], statement: str) -> list[Change] | None:
    if match["temporary"]:
        return []
    schema, table = qualified(match["table"])
    result: list[Change] = [NewTable(schema=schema, table=table)]
    content = parenthesised(match["rest"])
    for element in elements(content[0]) if content else ():
        if re.match(r"LIKE\b|PRIMARY\s+KEY\b|(?:CONSTRAINT\s+\S+\s+)?(?:CHECK|FOREIGN)\b", element, re.IGNORECASE):
            continue
        constraint = _constraint(schema, table, element, statement)
        if constraint is not None:
            result += [
                replace(change, inline=True) if isinstance(change, NewKey) else change
                for change in constraint
                if not (isinstance(change, NewKey) and change.primary)
            ]
        elif re.search(r"\bUNIQUE\b", element, re.IGNORECASE) and (column := re.match(IDENT, element)):
            columns = (unquoted(column[0]),)
            result.append(NewKey(schema=schema, table=table, name=None, columns=columns, inline=True, sql=statement))
    return result


_CONSTRAINT = re.compile(
    rf"(?:CONSTRAINT\s+(?P<name>{IDENT})\s+)?(?P<kind>UNIQUE|PRIMARY\s+KEY|EXCLUDE|FOREIGN\s+KEY|CHECK|NOT\s+NULL)\b"
    rf"\s*(?P<nulls>NULLS\s+NOT\s+DISTINCT|NULLS\s+DISTINCT)?\s*(?P<rest>.*)",
    re.IGNORECASE,
)


def _constraint(schema: str | None, table: str, text: str, statement: str) -> list[Change] | None:
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
    columns = columns_of(content[0]) if content else None
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


def _alter_table(match: re.Match[str], statement: str) -> list[Change] | None:
    schema, table = qualified(match["table"])
    result: list[Change] = []
    for action in elements(match["rest"]):
        change = _of_action(schema, table, action, statement)
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
    "retype": rf"ALTER\s+(?:COLUMN\s+)?({IDENT})\s+(?:SET\s+DATA\s+)?TYPE\b.*",
    "drop column": rf"DROP\s+(?:COLUMN\s+)?(?:IF\s+EXISTS\s+)?({IDENT})(?:\s+(?:CASCADE|RESTRICT))?",
}


def _of_action(schema: str | None, table: str, action: str, statement: str) -> list[Change] | None:
    if match := re.match(r"ADD\s+", action, re.IGNORECASE):
        return _of_addition(schema, table, action[match.end() :], statement)
    where: dict[str, Any] = {"schema": schema, "table": table}
    for kind, pattern in _ACTIONS.items():
        if match := re.fullmatch(pattern, action, re.IGNORECASE):
            first, second = [*(unquoted(name) for name in match.groups()), ""][:2]
            readings: dict[str, Change] = {
                "drop constraint": Gone(kind="name", name=first, **where),
                "rename constraint": Renamed(kind="name", name=first, new=second, **where),
                "rename": Renamed(kind="table", name=table, new=first, **where),
                "move": Renamed(kind="table", name=table, new=table, new_schema=first, **where),
                "rename column": Renamed(kind="column", name=first, new=second, **where),
                "retype": Retyped(column=first, **where),
                "drop column": Gone(kind="column", name=first, **where),
            }
            return [readings[kind]]
    return []  # such as OWNER TO, SET, ALTER COLUMN … SET DEFAULT, ATTACH PARTITION


def _of_addition(schema: str | None, table: str, text: str, statement: str) -> list[Change] | None:
    if _CONSTRAINT.match(text):
        return _constraint(schema, table, text, statement)
    match = re.match(rf"(?:COLUMN\s+)?(?:IF\s+NOT\s+EXISTS\s+)?({IDENT})\s+", text, re.IGNORECASE)
    if match is None:
        return None
    column, rest = unquoted(match[1]), text[match.end() :]
    has_default = re.search(r"\b(?:DEFAULT|GENERATED|(?:small|big)?serial)\b", rest, re.IGNORECASE) is not None
    result: list[Change] = [NewColumn(schema=schema, table=table, column=column, has_default=has_default)]
    if kind := re.search(r"\bUNIQUE\b|\bPRIMARY\s+KEY\b", rest, re.IGNORECASE):
        primary = kind[0].upper() != "UNIQUE"
        result.append(NewKey(schema=schema, table=table, name=None, columns=(column,), primary=primary, sql=statement))
    return result


def _drop(match: re.Match[str], _statement: str) -> list[Change]:
    kind, result = match["kind"].lower(), list[Change]()
    for name in elements(re.sub(r"\s+(?:CASCADE|RESTRICT)$", "", match["names"], flags=re.IGNORECASE)):
        schema, plain = qualified(name)
        if kind == "table":
            result.append(Gone(kind="table", schema=schema, table=plain, name=""))
        else:
            result.append(Gone(kind="name", schema=schema, name=plain))
    return result


def _rename_index(match: re.Match[str], _statement: str) -> list[Change]:
    schema, name = qualified(match["name"])
    return [Renamed(kind="name", schema=schema, name=name, new=unquoted(match["new"]))]


_CREATE_INDEX = (
    r"CREATE\s+(?P<unique>UNIQUE\s+)?INDEX\s+(?:CONCURRENTLY\s+)?(?:IF\s+NOT\s+EXISTS\s+)?"
    rf"(?:(?!ON\s)(?P<name>{IDENT})\s+)?ON\s+(?:ONLY\s+)?(?P<table>{NAME})\s*(?:USING\s+\w+\s*)?(?P<rest>.*)$"
)
_CREATE_TABLE = (
    r"CREATE\s+(?:(?:GLOBAL|LOCAL)\s+)?(?P<temporary>TEMP(?:ORARY)?\s+)?(?:UNLOGGED\s+|FOREIGN\s+)?TABLE\s+"
    rf"(?:IF\s+NOT\s+EXISTS\s+)?(?P<table>{NAME})\s*(?P<rest>.*)$"
)
_ALTER_TABLE = rf"ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?(?P<table>{NAME})(?:\s*\*)?\s+(?P<rest>.*)$"
_DROP = (
    r"DROP\s+(?P<kind>TABLE|INDEX)\s+(?:CONCURRENTLY\s+)?(?:IF\s+EXISTS\s+)?"
    rf"(?P<names>{NAME}(?:\s*,\s*{NAME})*(?:\s+(?:CASCADE|RESTRICT))?)$"
)
_RENAME_INDEX = rf"ALTER\s+INDEX\s+(?:IF\s+EXISTS\s+)?(?P<name>{NAME})\s+RENAME\s+TO\s+(?P<new>{IDENT})$"

_Reader = Callable[[re.Match[str], str], "list[Change] | None"]
_READERS: tuple[tuple[str, _Reader], ...] = (
    (_CREATE_INDEX, _create_index),
    (_CREATE_TABLE, _create_table),
    (_ALTER_TABLE, _alter_table),
    (_DROP, _drop),
    (_RENAME_INDEX, _rename_index),
)
_FORMS = tuple((re.compile(pattern, re.IGNORECASE | re.DOTALL), reader) for pattern, reader in _READERS)
