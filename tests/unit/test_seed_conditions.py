"""Conditions and regular expressions are understood from their text alone."""

import re

import pytest

from dupe_audit.seeding.candidates import Literals
from dupe_audit.seeding.pattern import matching
from dupe_audit.seeding.spec import conjuncts, mentions


@pytest.mark.parametrize(
    ("condition", "parts"),
    [
        ("(a > 1)", ["a > 1"]),
        ("((a > 1) AND (b < 2))", ["a > 1", "b < 2"]),
        ("(((a > 1) AND (b < 2)) AND (c = ' AND ('::text))", ["a > 1", "b < 2", "c = ' AND ('::text"]),
        ("((a > 1) OR ((b < 2) AND c))", ["(a > 1) OR ((b < 2) AND c)"]),
        ("(a > 1) OR (b < 2) AND c", ["(a > 1) OR (b < 2) AND c"]),
        ("(a) = (b)", ["(a) = (b)"]),
        ('("x AND y" = 1)', ['"x AND y" = 1']),
        ("((a AND b) IS NOT TRUE)", ["(a AND b) IS NOT TRUE"]),
    ],
)
def test_parts_of_a_condition(condition, parts):
    """A condition is split where AND joins its parts, and nowhere else."""
    assert parts == conjuncts(condition)


@pytest.mark.parametrize(
    ("condition", "name", "expected"),
    [
        ("(kind = 'id'::text)", "id", False),
        ("(kind = 'it''s id'::text)", "id", False),
        ("(grid > 5)", "id", False),
        ("(id > 5)", "id", True),
        ('("a ""b" > 5)', 'a "b', True),
    ],
)
def test_columns_of_a_condition(condition, name, expected):
    """A condition reads the columns that it names, but not a column whose name only occurs in a literal."""
    assert expected == mentions(condition, name)


def test_literals():
    """Strings, numbers and lengths are read from a condition as the server writes it."""
    literals = Literals.of(["((s)::text <> 'it''s 5'::text) AND (length(s) < 3) AND (n > '-2.5'::numeric)"])
    assert ("it's 5", "-2.5") == literals.strings
    assert ("3", "-2.5") == literals.numbers
    assert [2, 3, 4] == literals.lengths
    assert not literals.mentions_null


@pytest.mark.parametrize(
    ("pattern", "size"),
    [
        (r"^\d{5}$", 10**5),
        (r"^#[0-9a-f]{6}$", 16**6),
        (r"^[A-Z]{2}-?\d{2}$", 26**2 * 10**2),
        (r"^(?:ab|cd)+x*$", 1),
        (r"^[^a-z0-9]{1,2}\.[\w.-]$", 26**2 * 38),
        (r"[[:digit:]]{3,}", 10**4),
    ],
)
def test_regular_expressions(pattern, size):
    """The formula for a regular expression generates as many texts as its positions allow, and they match."""
    formula = matching(pattern)
    assert formula
    assert size == formula.size
    positions = re.findall(r"'((?:[^']|'')*)'", formula.sql)
    python = pattern.replace("[[:digit:]]", r"\d")
    for pick in (min, max):
        assert re.search(python, "".join(pick(chars) if len(chars) > 1 else chars for chars in positions))


@pytest.mark.parametrize("pattern", [r"^(a)\1$", "^(?=x)y$", "^[a", "", "a{1000}"])
def test_expressions_that_are_too_complex(pattern):
    """An expression that is more than a sequence of positions has no formula."""
    assert matching(pattern) is None
