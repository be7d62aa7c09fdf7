"""Parse SQL with PostgreSQL's own grammar (pglast, extra ``lint``), after replacing placeholders by parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from dupe_audit.checks.code.sql_sources import HOLE, INSERT, Snippet

_TOKENS = re.compile(
    r"""
    (?P<kept>(?<!\w)[eE]'(?:[^'\\]|\\.|'')*' | '[^']*' | "[^"]*" | --[^\n]* | /\*.*?\*/
             | (?<!\w)\$(?P<tag>\w*)\$.*?\$(?P=tag)\$ | ::)
    | (?P<brace>\{\{.*?\}\} | \{%.*?%\} | \{[^{}]*\})
    | (?P<percent>%\(\w+\)[sbt] | %[sbt]\b)
    | (?P<doubled>%%)
    | (?P<variable>:"\w+")
    | (?P<named>(?<![\w\\]):(?:[A-Za-z_]\w*|'\w+'))
    | (?P<question>\?(?![|&?]))
    """,
    re.VERBOSE | re.DOTALL,
)
_PARAMETER = "$1"
#: which placeholders to replace, and by what. The first style that parses wins, because ``?`` can also be an operator.
_STYLES: tuple[dict[str, str], ...] = (
    {"percent": _PARAMETER},
    {"percent": _PARAMETER, "named": _PARAMETER, "variable": HOLE},
    {"percent": _PARAMETER, "question": _PARAMETER},
    {"percent": HOLE},
    {"percent": HOLE, "named": _PARAMETER},
)
#: psycopg2 and SQLAlchemy insert whole lists where the grammar requires parentheses
_LISTS = re.compile(rf"\b(VALUES|IN)(\s+)(\$1|{HOLE})(?!\w)", re.IGNORECASE)
#: psql's commands, and the rows after a COPY in a dump
_PSQL = re.compile(r"^\\[^\n]*$|(?<=from stdin;)\n.*?^\\\.$", re.IGNORECASE | re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Insert:
    """One INSERT of a file."""

    node: Any  #: pglast's ``InsertStmt``
    line: int  #: of the INSERT, counted from 1
    last: int  #: last line of its statement


def missing() -> str | None:
    """Return why SQL cannot be parsed, or None if it can."""
    if find_spec("pglast") is None:
        return "pglast is not installed: pip install 'dupe-audit[lint]'"
    return None


def is_hole(name: str | None) -> bool:
    """Return whether a name is known only at run time."""
    return name is not None and (HOLE in name or "{" in name)


def parse(text: str) -> tuple[Any, ...] | None:
    """Return the parsed statements of a text, or None if PostgreSQL's grammar does not accept it."""
    from pglast import parse_sql
    from pglast.error import Error

    tried = set()
    for style in _STYLES:
        plain = _LISTS.sub(r"\1\2(\3)", _replaced(text, style))
        if plain in tried:
            continue
        tried.add(plain)
        try:
            return tuple(parse_sql(plain))
        except (Error, ValueError, RecursionError):
            continue
    return None


def _replaced(text: str, style: dict[str, str]) -> str:
    def replacement(match: re.Match[str]) -> str:
        kind = next(name for name in ("kept", *_KINDS) if match[name] is not None)
        if kind == "brace":
            return HOLE + "\n" * match[0].count("\n")
        return "%" if kind == "doubled" else style.get(kind, match[0])

    # asyncpg's $1, $2 …, with a number that the program computes
    return _TOKENS.sub(replacement, text).replace(f"${HOLE}", _PARAMETER)


_KINDS = ("brace", "percent", "doubled", "variable", "named", "question")


def inserts(snippet: Snippet) -> Iterator[Insert | int]:
    """Yield each INSERT of a snippet; for a statement that cannot be parsed, only its line."""
    text = _PSQL.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), snippet.text) if snippet.script else snippet.text
    for begin, statement in _split(text):
        first = INSERT.search(statement)
        if first is None:
            continue
        line = snippet.line_of(begin + first.end())
        parsed = parse(statement)
        if parsed is None or any(_ends_open(parsed_statement) for parsed_statement in parsed):
            yield line
            continue
        nodes = [
            node
            for parsed_statement in parsed
            for node in walk(parsed_statement)
            if type(node).__name__ == "InsertStmt"
        ]
        # Sorted by position, the nodes have the same order as the INSERT INTOs in the text.
        nodes.sort(key=lambda node: node.relation.location)
        # An INSERT in a function body, which is a quoted string, has no node.
        for match, node in zip(INSERT.finditer(_TOKENS.sub(_blank, statement)), nodes, strict=False):
            last = (
                snippet.line_of(begin + len(statement)) if snippet.script else snippet.line + snippet.source.count("\n")
            )
            yield Insert(node=node, line=snippet.line_of(begin + match.end()), last=last)


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0]) if match["kept"] and match["kept"] != "::" else match[0]


def _split(text: str) -> list[tuple[int, str]]:
    """Return the offset and text of each statement; the whole text as one if it cannot be split."""
    from pglast.error import Error
    from pglast.parser import split

    try:
        slices = split(text, with_parser=False, only_slices=True)
    except (Error, ValueError):
        return [(0, text)]
    return [(slice_.start, text[slice_]) for slice_ in slices]


def is_node(value: Any) -> bool:
    """Return whether a value is a node of a parse tree."""
    from pglast.ast import Node

    return isinstance(value, Node)


def walk(node: Any) -> Iterator[Any]:
    """Yield a node of a parse tree and all its descendants."""
    if isinstance(node, tuple):
        for child in node:
            yield from walk(child)
    elif is_node(node):
        yield node
        for name in node.__slots__:
            yield from walk(getattr(node, name, None))


def _ends_open(statement: Any) -> bool:
    """Return whether an unknown part is where more than a name is possible, such as a whole ON CONFLICT."""
    return any(
        (type(node).__name__ == "Alias" and is_hole(node.aliasname))
        or (type(node).__name__ == "SelectStmt" and any(is_hole(target.name) for target in node.targetList or ()))
        for node in walk(statement)
    )
