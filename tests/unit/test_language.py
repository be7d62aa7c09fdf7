"""Names say what they are bound to, and sentences are plain English."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = sorted(path for folder in ("src", "tests", "benchmarks", "alembic") for path in (ROOT / folder).rglob("*.py"))
PROSE = sorted(
    [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "src").rglob("*.py"), *(ROOT / "src").rglob("*.sql")]
)

#: names that say nothing about what they are bound to
POOR_NAMES = {"one", "told", "said", "found", "known", "seen", "there", "mine", "theirs", "whom", "asked", "ours"}

#: words that can follow "own" and are not the noun that it belongs to
NO_NOUNS = "(that|which|and|or|is|has|was|to|from|in|for|with|on)"

#: constructions that read as translated, and what an engineer would write
PHRASES = {
    r"that (is|are) there\b": "existing",
    r"\banew\b": "again",
    r"\b(name|say|names|says) whom\b": "who",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\b(is|are|was|were) told\b": "is reported",
    r"\bmay stand\b": "accepted",
    r"\bcalled after\b": "named after",
    r"\b(be|is|are|was) had\b|\bnot had\b": "acquired",
    r"\bbelongs? into\b": "belongs in",
    r"\bled to (the|a|its) (scratch|database|table)": "redirected to",
    r"\bsafety rule\b|\(F\d+\)": "the fact itself",
    # A noun may follow: "of its own table".
    rf"\bof (its|their|one's) own\b(?! (?!{NO_NOUNS}\b)\w)": "its own X",
    r"\b(query|queries)\b[^.]{0,40} (is|are|was|were) asked\b|\basks? (the|a) query\b": "execute",
}

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def _bound_name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return node.id
    if isinstance(node, ast.arg):
        return node.arg
    if isinstance(node, ast.alias):
        return node.asname
    return node.name if isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.ExceptHandler)) else None


@pytest.fixture(scope="module")
def bindings() -> list[tuple[str, str, bool]]:
    """The place and the name of everything that the code binds, and whether it is a function."""
    return [
        (f"{path.relative_to(ROOT)}:{node.lineno}", name.strip("_").lower(), isinstance(node, FUNCTIONS))
        for path in CODE
        for node in ast.walk(ast.parse(path.read_text()))
        if (name := _bound_name(node))
    ]


@pytest.fixture(scope="module")
def prose() -> list[tuple[str, str]]:
    """The place and the text of each line of the documentation and of the code that is shipped."""
    return [
        (f"{path.relative_to(ROOT)}:{number}", line.strip())
        for path in PROSE
        for number, line in enumerate(path.read_text().splitlines(), start=1)
    ]


def test_names_say_what_they_hold(bindings):
    """No variable, parameter, function or class is called `one`, `_told` or `Found`."""
    poor = [f"{place} {name}" for place, name, _ in bindings if name in POOR_NAMES]
    assert not poor, "\n".join(poor)


def test_functions_are_not_named_after_a_preposition(bindings):
    """No function is called `of_leaf`: a verb with a noun, or a plain noun, says what it does or returns."""
    poor = [f"{place} {name}" for place, name, is_function in bindings if is_function and name.startswith("of_")]
    assert not poor, "\n".join(poor)


@pytest.mark.parametrize("phrase", PHRASES)
def test_sentences_are_plain_english(phrase, prose):
    """No page, message, comment or docstring uses a construction that reads as translated."""
    pattern = re.compile(phrase, re.IGNORECASE)
    lines = [f"{place} {text}" for place, text in prose if pattern.search(text)]
    assert not lines, "\n".join([f"write {PHRASES[phrase]!r} instead:", *lines])
