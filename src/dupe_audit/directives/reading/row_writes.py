"""Read from SQL text which tables get rows, or columns values, that the text does not contain."""

from __future__ import annotations

import re

from dupe_audit.directives.reading.changes import NewRows
from dupe_audit.directives.reading.sql_text import (
    IDENT,
    NAME,
    column_list,
    elements,
    parenthesised,
    qualified,
    split_at_word,
    unquoted,
)

_WRITE = re.compile(
    r"\b(?P<kind>INSERT\s+INTO|MERGE\s+INTO|COPY|(?<!FOR )(?<!KEY )UPDATE(?!\s+SET\b))\s+"
    rf"(?:ONLY\s+)?(?P<table>{NAME})\s*",
    re.IGNORECASE,
)
_END = r"WHERE|GROUP|HAVING|ORDER|LIMIT|ON\s+CONFLICT|RETURNING|UNION|EXCEPT|INTERSECT|WITH"
#: in a text without the contents of its parentheses: rows that are written out, or computed by a function
_WRITTEN = re.compile(rf"(?:LATERAL\s+)?(?:\(VALUES\)|{NAME}\s*\(\)).*", re.IGNORECASE)


def row_writes(text: str) -> list[NewRows]:
    """Return the writes of a statement, or of the statements in a body, whose values are not in the text."""
    result = []
    for match in _WRITE.finditer(text):
        schema, table = qualified(match["table"])
        kind, rest = match["kind"].split()[0].upper(), text[match.end() :]
        if kind == "INSERT":
            result += _rows_of_insert(schema, table, rest)
        elif kind != "COPY" or re.match(r"(?:\([^)]*\)\s*)?FROM\b", rest, re.IGNORECASE):
            result.append(NewRows(schema=schema, table=table, rows=kind != "UPDATE", sql=text))
    return result


def _rows_of_insert(schema: str | None, table: str, text: str) -> list[NewRows]:
    text = re.sub(rf"^AS\s+{IDENT}\s*", "", text, flags=re.IGNORECASE)
    columns, content = None, parenthesised(text)
    if content and not re.match(r"(?:SELECT|WITH|TABLE|VALUES)\b|\(", content[0].strip(), re.IGNORECASE):
        columns, text = column_list(content[0]), content[1]
    text = re.sub(r"^OVERRIDING\s+\w+\s+VALUE\s+", "", text, flags=re.IGNORECASE)
    return rows_of_query(schema, table, text, columns)


def rows_of_query(schema: str | None, table: str, query: str, columns: tuple[str, ...] | None) -> list[NewRows]:
    """Return what a table gets from the rows of a query; nothing if they are written out."""
    query = query.strip()
    if (content := parenthesised(query)) and re.match(r"SELECT|WITH|TABLE|VALUES", content[0].strip(), re.IGNORECASE):
        query = f"{content[0].strip()} {content[1]}"
    if _is_written(query):
        return []
    return [
        NewRows(
            schema=schema,
            table=table,
            rows=True,
            distinct=_distinct(query, columns),
            skips=_conflict(query),
            sql=query,
        )
    ]


def _conflict(query: str) -> frozenset[str] | None:
    """Return the columns of ON CONFLICT DO NOTHING; an empty set if it has none, None without such a clause."""
    match = re.search(r"\bON\s+CONFLICT\s+(?:\(([^()]*)\)\s*)?DO\s+NOTHING\b", query, re.IGNORECASE)
    target = column_list(match[1]) if match and match[1] else ()
    return None if match is None or target is None else frozenset(target)


def _is_written(query: str) -> bool:
    """Return whether a query reads no table: its rows are literals, or results of functions."""
    if re.match(r"(?:DEFAULT\s+)?VALUES\b", query, re.IGNORECASE):
        return True
    if not re.match(r"SELECT\b", query, re.IGNORECASE):
        return False
    lists = re.findall(rf"(?<!DISTINCT )\bFROM\b(.*?)(?=\b(?:FROM|{_END})\b|$)", _flat(query), re.IGNORECASE)
    sources = [source.strip() for each in lists for source in re.split(r",|\bJOIN\b", each, flags=re.IGNORECASE)]
    return all(_WRITTEN.fullmatch(source) for source in sources)


def _flat(text: str) -> str:
    """Return a text without the contents of its parentheses, up to a closing one that it does not open."""
    result, depth = "", 0
    for part in re.split(r"(\(\s*VALUES\b|[()])", text, flags=re.IGNORECASE):
        if part == ")":
            depth -= 1
            result += ")" if depth == 0 else ""
        elif part.startswith("("):
            result += ("(VALUES" if part != "(" else "(") if depth == 0 else ""
            depth += 1
        elif depth == 0:
            result += part
        if depth < 0:
            break
    return result


def _distinct(query: str, columns: tuple[str, ...] | None) -> frozenset[str] | None:
    """Return columns in which no two rows of a query are equal, by DISTINCT or GROUP BY; None if none are known."""
    if re.search(r"\bLIMIT\s+1\b", _flat(query), re.IGNORECASE):
        return frozenset()  # a single row
    head = re.match(r"SELECT\s+(?:ALL\s+|(?P<distinct>DISTINCT)\s+)?(?:ON\s*)?", query, re.IGNORECASE)
    if head is None or re.search(r"\bUNION\b", _flat(query), re.IGNORECASE):
        return None
    rest, by = query[head.end() :], None
    if head[0].rstrip().upper().endswith(" ON") and (content := parenthesised(rest)):
        by, rest = elements(content[0]), content[1]
    selected, _, source = split_at_word(rest, "FROM")
    if head["distinct"] is None:
        _, _, groups = split_at_word(source, r"GROUP\s+BY")
        by = elements(split_at_word(groups, _END)[0]) if groups else []
    outputs = _outputs(elements(selected), columns)
    own = (
        {} if columns or "*" not in outputs else {_plain(each): each for each in by or () if re.fullmatch(IDENT, each)}
    )
    names = [(outputs | own).get(_plain(each)) for each in by] if by is not None else list(outputs.values())
    return frozenset(filter(None, names)) if names and None not in names else None


def _outputs(items: list[str], columns: tuple[str, ...] | None) -> dict[str, str | None]:
    """Return by each expression of a SELECT, and by its number, the column that gets its value, if that is known."""
    result: dict[str, str | None] = {}
    for position, item in enumerate(items):
        match = re.fullmatch(rf"(.*?)(?:\s+AS\s+({IDENT}))?", item, re.IGNORECASE)
        expression, alias = (match[1], match[2]) if match else (item, None)
        column = re.fullmatch(rf"(?:{IDENT}\.)?({IDENT})", expression)
        name = alias or (column and column[1])
        named = unquoted(name) if name else None
        output = (columns[position] if position < len(columns) else None) if columns else named
        result[_plain(expression)] = result[str(position + 1)] = output
    return result


def _plain(expression: str) -> str:
    """Return an expression in lower case, a column without its table."""
    return re.sub(rf"^{IDENT}\.(?={IDENT}$)", "", expression.strip()).lower()
