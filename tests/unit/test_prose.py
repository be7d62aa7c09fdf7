"""What the tests and the statements say about themselves."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEADER = re.compile(r"-- Purpose: \S.*\n-- Lock: \S.*\n-- Again: \S.*\n")


def is_one_sentence(docstring: str | None) -> bool:
    """Tell whether a docstring is one sentence, on as many lines as it needs."""
    text = " ".join((docstring or "").split())
    return text.endswith(".") and not re.search(r"[.!?] [A-Z]", text)


def test_every_test_says_in_one_sentence_what_it_is_about():
    """A failing test's docstring is one sentence that says which promise is broken."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        if not is_one_sentence(ast.get_docstring(node))
    ]
    assert silent == []


def test_every_statement_says_what_it_locks():
    """A .sql file begins with its purpose, the lock it takes and whether it is safe to run again."""
    statements = sorted((ROOT / "src" / "dupe_audit" / "statements").rglob("*.sql"))
    assert [path.name for path in statements if not HEADER.match(path.read_text())] == []
