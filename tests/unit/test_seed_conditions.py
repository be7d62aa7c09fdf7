"""Conditions are taken apart, and regular expressions are met, by their text alone."""

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
    """What AND joins is met part by part, and nothing else is taken apart."""
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
    """A condition reads the columns that it names, and none of which only a literal speaks."""
    assert expected == mentions(condition, name)


def test_literals():
    """Strings, numbers and lengths are read out of a condition as the server writes it."""
    found = Literals.of(["((s)::text <> 'it''s 5'::text) AND (length(s) < 3) AND (n > '-2.5'::numeric)"])
    assert ("it's 5", "-2.5") == found.strings
    assert ("3", "-2.5") == found.numbers
    assert [2, 3, 4] == found.lengths
    assert not found.unknown


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
    """A regular expression is met by as many texts as its places have characters."""
    made = matching(pattern)
    assert made
    assert size == made.size
    places = re.findall(r"'((?:[^']|'')*)'", made.sql)
    python = pattern.replace("[[:digit:]]", r"\d")
    for pick in (min, max):
        assert re.search(python, "".join(pick(place) if len(place) > 1 else place for place in places))


@pytest.mark.parametrize("pattern", [r"^(a)\1$", "^(?=x)y$", "^[a", "", "a{1000}"])
def test_expressions_that_are_too_hard(pattern):
    """An expression that is more than places in a row is left alone."""
    assert matching(pattern) is None
