"""Tests and SQL statements describe themselves."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEADER = re.compile(r"-- Purpose: \S.*\n-- Lock: \S.*\n-- Again: \S.*\n")


def is_one_sentence(docstring: str | None) -> bool:
    """Return whether a docstring is one sentence, on as many lines as it needs."""
    text = " ".join((docstring or "").split())
    return text.endswith(".") and not re.search(r"[.!?] [A-Z]", text)


def test_every_test_has_a_docstring_of_one_sentence():
    """The docstring of each test is one sentence, so that a failing test says which promise is broken."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        if not is_one_sentence(ast.get_docstring(node))
    ]
    assert silent == []


def test_every_statement_says_what_it_locks():
    """Each .sql file begins with its purpose, the lock it takes, and whether it is safe to execute it again."""
    statements = sorted((ROOT / "src" / "dupe_audit" / "statements").rglob("*.sql"))
    assert [path.name for path in statements if not HEADER.match(path.read_text())] == []
