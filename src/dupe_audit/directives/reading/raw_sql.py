"""Read from SQL text what it changes about tables and their uniqueness: the common forms, and what else may do it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from dupe_audit.directives.reading.alter_table import alter_table, constraint_changes
from dupe_audit.directives.reading.changes import (
    Gone,
    NewEnum,
    NewKey,
    NewName,
    NewRoutine,
    NewTable,
    Renamed,
    RoutineCall,
    SchemaChange,
    Unclear,
)
from dupe_audit.directives.reading.row_writes import row_writes, rows_of_query
from dupe_audit.directives.reading.sql_text import (
    IDENT,
    NAME,
    column_list,
    elements,
    index_elements,
    parenthesised,
    qualified,
    split_at_word,
    statements,
    unquoted,
)

_UNIQUENESS = re.compile(r"\bUNIQUE\b|\bPRIMARY\s+KEY\b|\bEXCLUDE\s*(?:USING\b|\()", re.IGNORECASE)
_REMOVAL = re.compile(r"\b(?:DROP|RENAME)\b|\bSET\s+SCHEMA\b", re.IGNORECASE)

#: statements that change no table, although their text may mention uniqueness
_HARMLESS = re.compile(
    r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:TRIGGER|EVENT|RULE|VIEW|MATERIALIZED|AGGREGATE)\b"
    r"|DROP\s+(?!TABLE|INDEX|SCHEMA|OWNED)\w+"
    r"|(?:GRANT|REVOKE|LOCK|ANALYZE|VACUUM|REINDEX|REFRESH|SET|COMMENT)\b",
    re.IGNORECASE,
)
#: statements that change rows, but no table's definition, unless a SELECT creates a table or a function changes one
_ROWS = re.compile(r"(?:INSERT|UPDATE|DELETE|MERGE|COPY|(?P<calls>SELECT|WITH|CALL))\b", re.IGNORECASE)
_BLOCK = re.compile(r"DO\b", re.IGNORECASE)
_ROUTINE = re.compile(rf"CREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE)\s+(?P<name>{NAME})", re.IGNORECASE)
_ENUM = re.compile(rf"CREATE\s+TYPE\s+(?P<name>{NAME})\s+AS\s+ENUM\b", re.IGNORECASE)
#: code in a string, which a function can execute
_QUOTED = re.compile(
    r"\bCREATE\s+UNIQUE\s+INDEX\b|\bALTER\s+TABLE\b.*\bADD\b.*\b(?:UNIQUE|PRIMARY\s+KEY|EXCLUDE)\b",
    re.IGNORECASE | re.DOTALL,
)
_INTO = re.compile(
    rf"(?P<query>(?:SELECT|WITH)\b.*?)\sINTO\s+(?P<temporary>TEMP(?:ORARY)?\s+)?(?:UNLOGGED\s+)?(?:TABLE\s+)?"
    rf"(?P<table>{NAME})(?P<rest>.*)$",
    re.IGNORECASE,
)


def changes_of_text(text: str) -> list[SchemaChange]:
    """Return what the statements of a text change, in their order."""
    result: list[SchemaChange] = []
    for statement, bodies in statements(text):
        result += _statement_changes(statement, bodies)
    return result


def _statement_changes(statement: str, bodies: str) -> list[SchemaChange]:
    if _HARMLESS.match(statement):
        return []
    if rows := _ROWS.match(statement):
        called = _called_routines(statement, bodies) if rows["calls"] else []
        return [*called, *_select_into(statement), *row_writes(statement)]
    if match := _ROUTINE.match(statement):
        return [NewRoutine(name=qualified(match["name"])[1], changes=tuple(_body_changes(bodies)))]
    if match := _ENUM.match(statement):
        return [NewEnum(name=qualified(match["name"])[1])]
    for pattern, read in _FORMS:
        if match := pattern.match(statement):
            changes_read = read(match, statement)
            if changes_read is not None:
                return changes_read
            break
    return _body_changes(bodies) if _BLOCK.match(statement) else _unclear(f"{statement} {bodies}")


def _unclear(text: str) -> list[SchemaChange]:
    declares = _UNIQUENESS.search(text) is not None
    return [Unclear(text=text, declares=declares)] if declares or _REMOVAL.search(text) else []


def _body_changes(text: str) -> list[SchemaChange]:
    """Return what the code of a block or a function changes, as far as it can be read."""
    filled = [fill for statement, _ in statements(text.replace("$", " ")) for fill in row_writes(statement)]
    return [*_called_routines(text, ""), *filled, *_unclear(text)]


def _called_routines(statement: str, quoted: str) -> list[SchemaChange]:
    names = [qualified(name)[1] for name in re.findall(rf"({NAME})\s*\(", statement)]
    result: list[SchemaChange] = [RoutineCall(names=frozenset(names), sql=statement)] if names else []
    if _QUOTED.search(quoted):
        result.append(Unclear(text=f"{statement} {quoted}", declares=True))
    return result


def _select_into(statement: str) -> list[SchemaChange]:
    match = _INTO.match(statement)
    if match is None or match["temporary"] or re.search(r"\b(?:INSERT|MERGE)$", match["query"], re.IGNORECASE):
        return []
    schema, table = qualified(match["table"])
    query = match["query"] + match["rest"]
    return [NewTable(schema=schema, table=table), *rows_of_query(schema, table, query, None)]


def _create_index(match: re.Match[str], statement: str) -> list[SchemaChange] | None:
    schema, table = qualified(match["table"])
    name = unquoted(match["name"]) if match["name"] else None
    if not match["unique"]:
        return [NewName(schema=schema, table=table, name=name)]
    if (content := parenthesised(match["rest"])) is None:
        return None
    keys, options = content
    options, _, where = re.sub(r"\bWHERE\b", "WHERE", options, count=1, flags=re.IGNORECASE).partition("WHERE")
    plain = None if where else column_list(keys)
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


def _create_table(match: re.Match[str], statement: str) -> list[SchemaChange] | None:
    if match["temporary"]:
        return []
    schema, table = qualified(match["table"])
    result: list[SchemaChange] = [NewTable(schema=schema, table=table)]
    content = parenthesised(match["rest"])
    if query := _created_as(content[1] if content else match["rest"]):
        columns = column_list(content[0]) if content else None
        return [*result, *rows_of_query(schema, table, query, columns)]
    for element in elements(content[0]) if content else ():
        if re.match(r"LIKE\b|PRIMARY\s+KEY\b|(?:CONSTRAINT\s+\S+\s+)?(?:CHECK|FOREIGN)\b", element, re.IGNORECASE):
            continue
        constraint = constraint_changes(schema, table, element, statement)
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


def _created_as(text: str) -> str | None:
    """Return the query of CREATE TABLE AS, if the table gets its rows."""
    _, word, query = split_at_word(text, "AS")
    return query if word and not re.search(r"\bWITH\s+NO\s+DATA$", query, re.IGNORECASE) else None


def _drop(match: re.Match[str], _statement: str) -> list[SchemaChange]:
    kind, result = match["kind"].lower(), list[SchemaChange]()
    for name in elements(re.sub(r"\s+(?:CASCADE|RESTRICT)$", "", match["names"], flags=re.IGNORECASE)):
        schema, plain = qualified(name)
        if kind == "table":
            result.append(Gone(kind="table", schema=schema, table=plain, name=""))
        else:
            result.append(Gone(kind="name", schema=schema, name=plain))
    return result


def _rename_index(match: re.Match[str], _statement: str) -> list[SchemaChange]:
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

_Reader = Callable[[re.Match[str], str], "list[SchemaChange] | None"]
_READERS: tuple[tuple[str, _Reader], ...] = (
    (_CREATE_INDEX, _create_index),
    (_CREATE_TABLE, _create_table),
    (_ALTER_TABLE, alter_table),
    (_DROP, _drop),
    (_RENAME_INDEX, _rename_index),
)
_FORMS = tuple((re.compile(pattern, re.IGNORECASE | re.DOTALL), reader) for pattern, reader in _READERS)
