"""Parse SQL with PostgreSQL's own grammar (pglast, extra ``lint``), once its placeholders are parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from dupe_audit.checks.code.sql_sources import HOLE, INSERT, Piece

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
#: which placeholders to replace, and by what; the first that parses is taken, because ``?`` is an operator, too
_PARAMETER = "$1"
_STYLES: tuple[dict[str, str], ...] = (
    {"percent": _PARAMETER},
    {"percent": _PARAMETER, "named": _PARAMETER, "variable": HOLE},
    {"percent": _PARAMETER, "question": _PARAMETER},
    {"percent": HOLE},
    {"percent": HOLE, "named": _PARAMETER},
)
#: psycopg2 and SQLAlchemy put whole lists where the grammar wants parentheses
_LISTS = re.compile(rf"\b(VALUES|IN)(\s+)(\$1|{HOLE})(?!\w)", re.IGNORECASE)
#: psql's commands, and the rows of a COPY in a dump
_PSQL = re.compile(r"^\\[^\n]*$|(?<=from stdin;)\n.*?^\\\.$", re.IGNORECASE | re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Insert:
    """One INSERT: its parse tree and the lines of the file that hold its statement."""

    node: Any
    line: int
    last: int


def missing() -> str | None:
    """Tell why nothing can be parsed, None where it can."""
    if find_spec("pglast") is None:
        return "pglast is not installed: pip install 'dupe-audit[lint]'"
    return None


def is_hole(name: str | None) -> bool:
    """Tell whether a name is known only when the program runs."""
    return name is not None and (HOLE in name or "{" in name)


def parse(text: str) -> tuple[Any, ...] | None:
    """Return the statements of a text, None where PostgreSQL's grammar has no such text."""
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
    def one(found: re.Match[str]) -> str:
        kind = next(name for name in ("kept", *_KINDS) if found[name] is not None)
        if kind == "brace":
            return HOLE + "\n" * found[0].count("\n")
        return "%" if kind == "doubled" else style.get(kind, found[0])

    # asyncpg's numbers, counted by the program
    return _TOKENS.sub(one, text).replace(f"${HOLE}", _PARAMETER)


_KINDS = ("brace", "percent", "doubled", "variable", "named", "question")


def inserts(piece: Piece) -> Iterator[Insert | int]:
    """Yield each INSERT of a piece; for a statement that cannot be read, its line."""
    text = _PSQL.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), piece.text) if piece.script else piece.text
    for begin, statement in _split(text):
        first = INSERT.search(statement)
        if first is None:
            continue
        line = piece.line_of(begin + first.end())
        parsed = parse(statement)
        if parsed is None or any(_ends_open(one) for one in parsed):
            yield line
            continue
        nodes = [node for one in parsed for node in walk(one) if type(node).__name__ == "InsertStmt"]
        # In the text, and so in the tree by place, each INSERT INTO follows the one before.
        nodes.sort(key=lambda node: node.relation.location)
        # A body of a function, in quotes, has no node.
        for found, node in zip(INSERT.finditer(_TOKENS.sub(_blank, statement)), nodes, strict=False):
            last = piece.line_of(begin + len(statement)) if piece.script else piece.line + piece.source.count("\n")
            yield Insert(node=node, line=piece.line_of(begin + found.end()), last=last)


def _blank(found: re.Match[str]) -> str:
    return " " * len(found[0]) if found["kept"] and found["kept"] != "::" else found[0]


def _split(text: str) -> list[tuple[int, str]]:
    """Return the statements of a text and where each begins; all as one where it cannot be split."""
    from pglast.error import Error
    from pglast.parser import split

    try:
        slices = split(text, with_parser=False, only_slices=True)
    except (Error, ValueError):
        return [(0, text)]
    return [(one.start, text[one]) for one in slices]


def is_node(value: Any) -> bool:
    """Tell whether a value is a node of a parse tree."""
    from pglast.ast import Node

    return isinstance(value, Node)


def walk(node: Any) -> Iterator[Any]:
    """Yield a node of a parse tree and all below it."""
    if isinstance(node, tuple):
        for one in node:
            yield from walk(one)
    elif is_node(node):
        yield node
        for name in node.__slots__:
            yield from walk(getattr(node, name, None))


def _ends_open(statement: Any) -> bool:
    """Tell whether an unknown part stands where more than a name could come, such as a whole ON CONFLICT."""
    return any(
        (type(node).__name__ == "Alias" and is_hole(node.aliasname))
        or (type(node).__name__ == "SelectStmt" and any(is_hole(one.name) for one in node.targetList or ()))
        for node in walk(statement)
    )
