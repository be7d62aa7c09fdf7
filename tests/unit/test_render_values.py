"""Values of rows as text, Markdown and CSV."""

import pytest

from dupe_audit.render.values import code, csv_cell, shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        ("NULL", "'NULL'"),
        ("", "''"),
        ("'", "''''"),
        (" a", "' a'"),
        ("a  b", "'a  b'"),
        ("plain value", "plain value"),
        ("a\\b", "a\\b"),
        ("a\\\n'", "E'a\\\\\\n\\''"),
        ("\x1b[31m", "E'\\x1b[31m'"),
        ("\x9b", "E'\\u009b'"),
        ("\u202eevil", "E'\\u202eevil'"),
        ("a\u00a0b\u200b", "E'a\\u00a0b\\u200b'"),
        ("\U000e0001", "E'\\U000e0001'"),
        ("E'x'", "'E''x'''"),
        ("Ωλ日本", "Ωλ日本"),
    ],
)
def test_no_two_values_look_alike(value, text):
    """NULL, the empty string, blanks and invisible characters can be told from one another, and none is obeyed."""
    assert text == shown(value)


@pytest.mark.parametrize(("text", "span"), [("a*b_|", "`a*b_|`"), ("`x`", "`` `x` ``"), ("a``b", "```a``b```")])
def test_code_spans_hold_any_text(text, span):
    """A code span has a fence that is longer than any in its text."""
    assert span == code(text)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, "NULL"),
        ("", '""'),
        ("NULL", '"NULL"'),
        ('say "hi", ok', '"say ""hi"", ok"'),
        ("-5", '"-5"'),
        ("+1.5e-3", '"+1.5e-3"'),
        ("=1+1", '"\'=1+1"'),
        (" @SUM(A1)", '"\' @SUM(A1)"'),
        ("-2+3", '"\'-2+3"'),
        ("\N{FULLWIDTH EQUALS SIGN}1", '"\'\N{FULLWIDTH EQUALS SIGN}1"'),
        ("\t=1", "\"E'\\t=1'\""),
    ],
)
def test_csv_cells_are_no_formulas(value, cell):
    """Only NULL is unquoted, numbers stay numbers, and a formula begins with an apostrophe."""
    assert cell == csv_cell(value)
