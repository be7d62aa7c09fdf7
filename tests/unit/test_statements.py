"""Templates are filled completely, in one pass, and no value can be read as SQL."""

import re
from pathlib import Path

import pytest

import dupe_audit
from dupe_audit.statements import fill, fill_known, ident, literal, statement, template, text_array

FOLDER = Path(dupe_audit.__file__).parent / "statements"
NAMES = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.sql"))
HOLE = re.compile(r"\{(\w+)\}")


def test_values_are_not_filled_again():
    """A value that looks like a hole is not filled."""
    assert fill("SELECT {a} FROM {b}", a='"{b}"', b='"{a}"') == 'SELECT "{b}" FROM "{a}"'
    assert fill_known("SELECT {a}", {"a": "{b}"}, b="1") == "SELECT {b}"


@pytest.mark.parametrize("holes", [{}, {"a": "1", "b": "2"}, {"b": "2"}], ids=["missing", "surplus", "both"])
def test_holes_and_values_have_to_match(holes):
    """A hole without a value, or a value without a hole, raises KeyError."""
    with pytest.raises(KeyError):
        fill("SELECT {a}", **holes)


def test_fill_known_ignores_surplus_values():
    """Values that a template has no hole for are ignored, but every hole needs a value."""
    assert fill_known("SELECT {a}", {"a": "1", "b": "2"}) == "SELECT 1"
    with pytest.raises(KeyError):
        fill_known("SELECT {c}", {"a": "1"})


def test_unknown_statement_is_an_error():
    """The name of a file that does not exist raises FileNotFoundError."""
    with pytest.raises(FileNotFoundError):
        statement("no_such_statement")


@pytest.mark.parametrize("name", NAMES)
def test_template_is_one_clean_statement(name):
    """A template has no header, no closing semicolon, and no braces except those of holes."""
    text = template(name)
    assert not text.startswith("--")
    assert not text.rstrip().endswith(";")
    assert text
    without_holes = HOLE.sub("", text.replace("'{}'", ""))
    assert re.findall(r"(?<!\[)(?<!\[\^)[{}]", without_holes) == []


#: statements that derive pieces of SQL
SOURCES = ("fragments", "change_fragments", "image_fragments", "restore_fragments", "references", "touched_indexes")


@pytest.fixture(scope="module")
def values() -> set[str]:
    """What a hole can be filled with: the names in the code, and the columns of statements that derive pieces."""
    code = "\n".join(path.read_text() for path in FOLDER.parent.rglob("*.py"))
    aliases = "".join(template(source) for source in SOURCES)
    names = re.findall(r"\b(\w+)=", code) + re.findall(r"[\"'](\w+)[\"']\s*[:\]]", code)
    return {*names, *re.findall(r"(?:AS |\.)(\w+)\b", aliases), *(f"t_{name}" for name in NAMES)}


@pytest.mark.parametrize("name", NAMES)
def test_every_hole_has_a_value_in_the_code(name, values):
    """Every hole of a template is named in the code, or is a column of a statement that derives pieces of SQL."""
    assert set(HOLE.findall(template(name))) - values == set()


@pytest.mark.parametrize(
    ("value", "sql"),
    [(None, "NULL"), (5, "5"), (-5, "-5"), ("a'b", "'a''b'"), ("back\\slash", r"E'back\\slash'")],
)
def test_literals(value, sql):
    """A literal means the same under every setting of standard_conforming_strings."""
    assert sql == literal(value)


def test_identifiers():
    """Each part of a qualified name is quoted on its own."""
    assert ident("a.b", 'c"d') == '"a.b"."c""d"'


def test_arrays():
    """An array of names has a type, even if it is empty."""
    assert text_array(["a", "b'c"]) == "ARRAY['a', 'b''c']::pg_catalog.text[]"
    assert text_array([]) == "ARRAY[]::pg_catalog.text[]"


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.sql")), ids=lambda path: path.stem)
def test_every_statement_can_be_sent_in_every_encoding(path):
    """A statement is plain ASCII, its comments too, so that a connection in any encoding can send it."""
    assert path.read_text("utf-8").isascii()


def test_no_literal_depends_on_an_encoding():
    """A literal keeps every character, whatever encoding the last connection of the process had."""
    assert "'\u8868 \u20ac'" == literal("\u8868 \u20ac")
    assert r"E'\u8868\\''x'".replace("\\u8868", "\u8868") == literal("\u8868\\'x")
