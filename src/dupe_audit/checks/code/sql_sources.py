"""Find SQL that inserts in a project's code: in ``*.sql`` files, and in the strings of ``*.py`` files.

Python is read, never run. What a string gets only when it runs becomes the name ``HOLE``.
"""

from __future__ import annotations

import ast
import os
import re
import tokenize
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dupe_audit.checks.accept import accepted
from dupe_audit.errors import WrongUsage

#: stands for a part of a statement that is known only when the program runs
HOLE = "dupe_audit_hole"

INSERT = re.compile(r"\binsert\s+into\b", re.IGNORECASE)

#: what SQL with an INSERT in it begins with, after comments and parentheses; prose about one does not
_BEGINS = re.compile(
    r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*"
    r"(?:insert|with|explain|prepare|begin|start|set|select|create|do|truncate|delete|update|lock|copy|alter|drop)\b",
    re.IGNORECASE | re.DOTALL,
)
_GOES_ON = re.compile(
    rf"\binsert\s+into\b.+?(?:\b(?:values|select|default|table|with|conflict)\b|{HOLE})", re.IGNORECASE | re.DOTALL
)
#: most files have nothing of this, and need not be parsed
_WORTH_IT = re.compile(r"\binsert\b|on_conflict_do_", re.IGNORECASE)
_SKIPPED = {"node_modules", "site-packages", "__pycache__"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A text of SQL with at least one INSERT, as written in one place."""

    text: str
    line: int  #: where it begins in the file, counted from 1
    source: str  #: the lines of the file that it comes from
    unfinished: bool = False  #: the program appends to it elsewhere
    script: bool = False  #: an SQL file, not a string

    def line_of(self, offset: int) -> int:
        """Return the line of the file that holds the INSERT before or at *offset* of the text."""
        if self.script:
            return self.line + self.text.count("\n", 0, offset)
        # A string's escapes and joints move its lines about, so its statements are counted instead.
        nth = len(INSERT.findall(self.text[:offset]))
        begins = [found.start() for found in INSERT.finditer(self.source)]
        return self.line + (self.source.count("\n", 0, begins[nth - 1]) if 0 < nth <= len(begins) else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Construct:
    """A literal arbiter of SQLAlchemy's ``on_conflict_do_nothing()`` or ``on_conflict_do_update()``."""

    line: int
    constraint: str | None
    elements: tuple[str, ...]
    partial: bool  #: it gives an ``index_where``


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file, and what in it inserts."""

    path: Path
    lines: tuple[str, ...]
    pieces: tuple[Piece, ...] = ()
    constructs: tuple[Construct, ...] = ()
    problem: tuple[int, str] | None = None  #: line and reason why it could not be read

    def accepts(self, first: int, last: int) -> frozenset[str]:
        """Return the findings that a comment accepts: on these lines, or on the line above."""
        return accepted("\n".join(self.lines[max(first - 2, 0) : last]))


def sources(paths: Iterable[Path], *, without: Iterable[Path] = ()) -> Iterator[Source]:
    """Read files and directories, each file once; *without* are directories that are left out.

    Raises:
        WrongUsage: there is no such file or directory.
    """
    left_out = {os.path.realpath(one) for one in without}
    seen = set()
    for path in paths:
        if not path.exists():
            raise WrongUsage(f"There is no file or directory {str(path)!r} to look for writers in.")
        for file in _files(path, left_out) if path.is_dir() else [path]:
            if (real := os.path.realpath(file)) not in seen:
                seen.add(real)
                yield read(file)


def _files(directory: Path, left_out: set[str]) -> Iterator[Path]:
    for parent, directories, files in os.walk(directory):
        directories[:] = sorted(
            name
            for name in directories
            if not name.startswith(".")
            and name not in _SKIPPED
            and not (Path(parent) / name / "pyvenv.cfg").exists()
            and os.path.realpath(Path(parent) / name) not in left_out
        )
        yield from (Path(parent) / name for name in sorted(files) if name.endswith((".py", ".sql")))


def read(path: Path) -> Source:
    """Read one file: Python by its name, else SQL."""
    try:
        with tokenize.open(path) if path.suffix == ".py" else path.open(encoding="utf-8") as file:
            text = file.read()
        lines = tuple(text.split("\n"))
        if path.suffix != ".py":
            found = INSERT.search(text)
            return Source(
                path=path, lines=lines, pieces=(Piece(text=text, line=1, source=text, script=True),) if found else ()
            )
        if not _WORTH_IT.search(text):
            return Source(path=path, lines=lines)
        strings = _Strings(text)
    except (SyntaxError, ValueError, RecursionError, OSError) as error:
        line = getattr(error, "lineno", None) or 1
        return Source(path=path, lines=(), problem=(line, "the file cannot be read"))
    return Source(path=path, lines=lines, pieces=tuple(strings.pieces), constructs=tuple(strings.constructs))


class _Strings(ast.NodeVisitor):
    """Collects the strings of a module that are SQL with an INSERT."""

    def __init__(self, text: str) -> None:
        self.pieces: list[Piece] = []
        self.constructs: list[Construct] = []
        self._lines = text.split("\n")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's opinions on someone else's code
            tree = ast.parse(text)
        self._grown = _grown(tree)
        self._unfinished = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and any(_name(target) in self._grown for target in node.targets)
        }
        self.visit(tree)

    def visit(self, node: ast.AST) -> None:
        """Take a string whole, with its holes; go on everywhere else."""
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return  # a docstring
        holes: list[ast.expr] = []
        text = _text(node, holes) if isinstance(node, ast.expr) else None
        if text is None or not isinstance(node, ast.expr):
            if isinstance(node, ast.Call):
                self._construct(node)
            self.generic_visit(node)
            return
        if _BEGINS.match(text) and _GOES_ON.search(text):
            self.pieces.append(
                Piece(
                    text=text,
                    line=node.lineno,
                    source="\n".join(self._lines[node.lineno - 1 : node.end_lineno]),
                    unfinished=id(node) in self._unfinished,
                )
            )
        for hole in holes:
            self.visit(hole)

    def _construct(self, node: ast.Call) -> None:
        if not (isinstance(node.func, ast.Attribute) and node.func.attr.startswith("on_conflict_do_")):
            return
        given = {one.arg: one.value for one in node.keywords}
        constraint, elements = given.get("constraint"), given.get("index_elements")
        named = constraint.value if isinstance(constraint, ast.Constant) and isinstance(constraint.value, str) else None
        listed = elements.elts if isinstance(elements, ast.List | ast.Tuple | ast.Set) else []
        columns = [one.value for one in listed if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        if named is not None or (columns and len(columns) == len(listed)):
            self.constructs.append(
                Construct(
                    line=getattr(elements if named is None else constraint, "lineno", node.lineno),
                    constraint=named,
                    elements=tuple(columns),
                    partial="index_where" in given,
                )
            )


def _text(node: ast.expr, holes: list[ast.expr]) -> str | None:
    """Return the text of a string expression, None where it is none; *holes* gets its unknown parts."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else HOLE for part in node.values]
        holes += [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
        return "".join(map(str, parts))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        sides = [(side, _text(side, holes)) for side in (node.left, node.right)]
        if all(text is None for _side, text in sides):
            return None
        holes += [side for side, text in sides if text is None]
        return "".join(HOLE if text is None else text for _side, text in sides)
    return None


def _name(node: ast.AST) -> str | None:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None


def _grown(tree: ast.AST) -> set[str]:
    """Return the names of what is put into a longer string somewhere: what they hold may not be all."""
    grown: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            grown += [node.left, node.right]
        elif isinstance(node, ast.AugAssign):
            grown.append(node.target)
        elif isinstance(node, ast.FormattedValue):
            grown.append(node.value)
        elif isinstance(node, ast.Call) and _name(node.func) in {"format", "join"}:
            grown += [*node.args, *(one.value for one in node.keywords)]
    return {name for node in grown if (name := _name(node))}
