"""What has a name is written once: error codes of the server, and the classes of the package."""

import ast
from collections.abc import Iterator
from pathlib import Path

import psycopg

from dupe_audit.postgres import sqlstates

SOURCE = Path(__file__).parents[2] / "src" / "dupe_audit"
CLASSES = {value for name, value in vars(sqlstates).items() if name.startswith("CLASS_")}


def is_sqlstate(text: str) -> bool:
    """Return whether a text is a SQLSTATE that PostgreSQL has."""
    try:
        psycopg.errors.lookup(text)
    except KeyError:
        return False
    return len(text) == 5 and text.upper() == text


def literals(tree: ast.AST) -> Iterator[ast.Constant]:
    """Yield the texts of a module that can be compared with a SQLSTATE; a setting's value, such as "40", cannot."""
    values = {id(value) for node in ast.walk(tree) if isinstance(node, ast.Dict) for value in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in values:
            yield node


def test_error_codes_are_named():
    """Each SQLSTATE, and each class of them, is written only in the module that names them."""
    bare = [
        f"{path.relative_to(SOURCE)}:{node.lineno} {node.value}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path != SOURCE / "postgres" / "sqlstates.py"
        for node in literals(ast.parse(path.read_text()))
        if node.value in CLASSES or is_sqlstate(node.value)
    ]
    assert bare == []


def test_an_error_code_has_a_single_name():
    """No SQLSTATE has two names, and none is named twice."""
    tree = ast.parse((SOURCE / "postgres" / "sqlstates.py").read_text())
    codes = [
        node.value.value for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    ]
    assert sorted(codes) == sorted(set(codes))


def test_a_class_name_means_one_thing():
    """No two modules have a public class of the same name."""
    modules: dict[str, set[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules.setdefault(node.name, set()).add(str(path.relative_to(SOURCE)))
    shared = {name: sorted(paths) for name, paths in modules.items() if len(paths) > 1}
    assert shared == {}
