"""A statement is a file, so that a DBA reviews all that is sent without reading Python."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "dupe_audit"
STATEMENT = re.compile(
    # A change of single settings is read more easily where their values are.
    r"\s*(SELECT(?! pg_catalog\.set_config)|INSERT|UPDATE|DELETE|MERGE|CREATE|ALTER|DROP|TRUNCATE|WITH|EXPLAIN|CALL|"
    r"LOCK|EXECUTE|PERFORM|GET)\s"
)
#: a line of psql, or a call of a procedure that the script itself creates
OF_A_SCRIPT = re.compile(r"\\g|pg_temp\.dupe_audit_|FROM \{\} AS m$")

SHORTEST = 25  #: characters; shorter texts are labels, or as plain as ``SELECT 1``

#: modules and packages that contain SQL, and why it is not in statements/
ELSEWHERE = {
    "checks/rules/squawk.py": "a pattern that finds statements in another program's report",
    "checks/tracing/table_work.py": "a list of keywords",
    "demo/": "the story of the demo",
    "directives/autogenerate/": "code of revisions",
    "findings/": "help texts",
    "ledger/choice.py": "a subquery of an order",
    "postgres/trees.py": "what makes a single statement of several",
    "preflight/index_advice.py": "help texts",
    "seeding/": "queries composed of the parts of a generated table, for scratch servers",
}


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each string, with ``{}`` in place of what an f-string computes."""
    pieces = {id(piece) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for piece in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in pieces:
            yield node.lineno, node.value


def is_statement(text: str) -> bool:
    """Return whether a text is a whole statement in SQL, or begins like one."""
    return len(text) >= SHORTEST and bool(STATEMENT.match(text))


def test_statements_are_files():
    """No module contains a statement in SQL, except those that are explained, each of which still does."""
    statements = {
        f"{path.relative_to(SOURCE).as_posix()}:{line} {text}"
        for path in sorted(SOURCE.rglob("*.py"))
        for line, text in texts(ast.parse(path.read_text()))
        if is_statement(text) and not (path.parent.name == "script" and OF_A_SCRIPT.search(text))
    }
    assert sorted(text for text in statements if not text.startswith(tuple(ELSEWHERE))) == []
    assert [place for place in ELSEWHERE if not any(text.startswith(place) for text in statements)] == []
