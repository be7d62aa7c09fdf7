"""Find INSERTs in a project's code: in ``*.sql`` files, and in the strings of ``*.py`` files.

Python code is parsed, never executed. A part of a string that is known only at run time becomes the name ``HOLE``.
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

from dupe_audit.errors import WrongUsage
from dupe_audit.findings import accepted

#: replaces a part of a statement that is known only at run time
HOLE = "dupe_audit_hole"

INSERT = re.compile(r"\binsert\s+into\b", re.IGNORECASE)

#: the first word of SQL that can contain an INSERT, after comments and parentheses; prose begins with other words
_STATEMENT_START = re.compile(
    r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*"
    r"(?:insert|with|explain|prepare|begin|start|set|select|create|do|truncate|delete|update|lock|copy|alter|drop)\b",
    re.IGNORECASE | re.DOTALL,
)
_INSERT_BODY = re.compile(
    rf"\binsert\s+into\b.+?(?:\b(?:values|select|default|table|with|conflict)\b|{HOLE})", re.IGNORECASE | re.DOTALL
)
#: files without a match need not be parsed
_MAY_INSERT = re.compile(r"\binsert\b|on_conflict_do_", re.IGNORECASE)
_SKIPPED = {"node_modules", "site-packages", "__pycache__"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """SQL with at least one INSERT: one string of a Python file, or a whole SQL file."""

    text: str
    line: int  #: the file's line where it begins, counted from 1
    source: str  #: the lines of the file that contain it
    unfinished: bool = False  #: the program appends to the string elsewhere
    script: bool = False  #: it is an SQL file

    def line_of(self, offset: int) -> int:
        """Return the file's line of the INSERT at or before *offset* in the text."""
        if self.script:
            return self.line + self.text.count("\n", 0, offset)
        # Escapes and concatenation shift the lines of a string, so its INSERTs are counted instead.
        nth = len(INSERT.findall(self.text[:offset]))
        starts = [match.start() for match in INSERT.finditer(self.source)]
        return self.line + (self.source.count("\n", 0, starts[nth - 1]) if 0 < nth <= len(starts) else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArbiterCall:
    """A call of SQLAlchemy's ``on_conflict_do_nothing()`` or ``on_conflict_do_update()`` with a literal arbiter."""

    line: int
    constraint: str | None
    elements: tuple[str, ...]
    partial: bool  #: it passes ``index_where``


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file and its INSERTs."""

    path: Path
    lines: tuple[str, ...]
    snippets: tuple[Snippet, ...] = ()
    arbiter_calls: tuple[ArbiterCall, ...] = ()
    problem: tuple[int, str] | None = None  #: line, and why it could not be read

    def accepts(self, first: int, last: int) -> frozenset[str]:
        """Return the finding ids that a comment accepts, on the lines *first* to *last* or on the line above."""
        return accepted("\n".join(self.lines[max(first - 2, 0) : last]))


def source_files(paths: Iterable[Path], *, exclude: Iterable[Path] = ()) -> Iterator[SourceFile]:
    """Read files and directories, each file once.

    Args:
        paths: files, or directories whose Python and SQL files are read.
        exclude: directories to skip.

    Raises:
        WrongUsage: a path does not exist.
    """
    excluded = {os.path.realpath(directory) for directory in exclude}
    yielded = set()
    for path in paths:
        if not path.exists():
            raise WrongUsage(f"--writers: {str(path)!r} does not exist.")
        for file in _files(path, excluded) if path.is_dir() else [path]:
            if (real := os.path.realpath(file)) not in yielded:
                yielded.add(real)
                yield read(file)


def _files(directory: Path, excluded: set[str]) -> Iterator[Path]:
    for parent, directories, files in os.walk(directory):
        directories[:] = sorted(
            name
            for name in directories
            if not name.startswith(".")
            and name not in _SKIPPED
            and not (Path(parent) / name / "pyvenv.cfg").exists()
            and os.path.realpath(Path(parent) / name) not in excluded
        )
        yield from (Path(parent) / name for name in sorted(files) if name.endswith((".py", ".sql")))


def read(path: Path) -> SourceFile:
    """Read one file: Python if its name ends in ``.py``, else SQL."""
    try:
        with tokenize.open(path) if path.suffix == ".py" else path.open(encoding="utf-8") as file:
            text = file.read()
        lines = tuple(text.split("\n"))
        if path.suffix != ".py":
            match = INSERT.search(text)
            return SourceFile(
                path=path,
                lines=lines,
                snippets=(Snippet(text=text, line=1, source=text, script=True),) if match else (),
            )
        if not _MAY_INSERT.search(text):
            return SourceFile(path=path, lines=lines)
        strings = _StringCollector(text)
    except (SyntaxError, ValueError, RecursionError, OSError) as error:
        line = getattr(error, "lineno", None) or 1
        return SourceFile(path=path, lines=(), problem=(line, "the file cannot be read"))
    return SourceFile(
        path=path, lines=lines, snippets=tuple(strings.snippets), arbiter_calls=tuple(strings.arbiter_calls)
    )


class _StringCollector(ast.NodeVisitor):
    """Collects the strings of a module that contain an INSERT, and the calls that name an arbiter."""

    def __init__(self, text: str) -> None:
        self.snippets: list[Snippet] = []
        self.arbiter_calls: list[ArbiterCall] = []
        self._lines = text.split("\n")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's warnings about the user's code
            tree = ast.parse(text)
        self._extended = _extended(tree)
        self._unfinished = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and any(_name(target) in self._extended for target in node.targets)
        }
        self.visit(tree)

    def visit(self, node: ast.AST) -> None:
        """Take a string expression as a whole; descend into everything else, its unknown parts included."""
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return  # a docstring
        holes: list[ast.expr] = []
        text = _text(node, holes) if isinstance(node, ast.expr) else None
        if text is None or not isinstance(node, ast.expr):
            if isinstance(node, ast.Call):
                self._arbiter_call(node)
            self.generic_visit(node)
            return
        if _STATEMENT_START.match(text) and _INSERT_BODY.search(text):
            self.snippets.append(
                Snippet(
                    text=text,
                    line=node.lineno,
                    source="\n".join(self._lines[node.lineno - 1 : node.end_lineno]),
                    unfinished=id(node) in self._unfinished,
                )
            )
        for hole in holes:
            self.visit(hole)

    def _arbiter_call(self, node: ast.Call) -> None:
        if not (isinstance(node.func, ast.Attribute) and node.func.attr.startswith("on_conflict_do_")):
            return
        arguments = {keyword.arg: keyword.value for keyword in node.keywords}
        constraint, elements = arguments.get("constraint"), arguments.get("index_elements")
        named = constraint.value if isinstance(constraint, ast.Constant) and isinstance(constraint.value, str) else None
        listed = elements.elts if isinstance(elements, ast.List | ast.Tuple | ast.Set) else []
        columns = [
            element.value for element in listed if isinstance(element, ast.Constant) and isinstance(element.value, str)
        ]
        if named is not None or (columns and len(columns) == len(listed)):
            self.arbiter_calls.append(
                ArbiterCall(
                    line=getattr(elements if named is None else constraint, "lineno", node.lineno),
                    constraint=named,
                    elements=tuple(columns),
                    partial="index_where" in arguments,
                )
            )


def _text(node: ast.expr, holes: list[ast.expr]) -> str | None:
    """Return the text of a string expression, None for another one; append its unknown parts to *holes*."""
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


def _extended(tree: ast.AST) -> set[str]:
    """Return the names of variables that become part of a longer string, so their own text may be incomplete."""
    extended: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            extended += [node.left, node.right]
        elif isinstance(node, ast.AugAssign):
            extended.append(node.target)
        elif isinstance(node, ast.FormattedValue):
            extended.append(node.value)
        elif isinstance(node, ast.Call) and _name(node.func) in {"format", "join"}:
            extended += [*node.args, *(keyword.value for keyword in node.keywords)]
    return {name for node in extended if (name := _name(node))}
