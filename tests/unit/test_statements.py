"""Templates are filled completely, in one pass, and with values that cannot break out of their place."""

import re
from pathlib import Path

import pytest

import dupe_audit
from dupe_audit.statements import fill, fill_known, ident, literal, statement, template, text_array

FOLDER = Path(dupe_audit.__file__).parent / "statements"
NAMES = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.sql"))
HOLE = re.compile(r"\{(\w+)\}")


def test_values_are_not_filled_again():
    """A name that looks like a hole stays a name."""
    assert fill("SELECT {a} FROM {b}", a='"{b}"', b='"{a}"') == 'SELECT "{b}" FROM "{a}"'
    assert fill_known("SELECT {a}", {"a": "{b}"}, b="1") == "SELECT {b}"


@pytest.mark.parametrize("holes", [{}, {"a": "1", "b": "2"}, {"b": "2"}], ids=["missing", "surplus", "both"])
def test_holes_and_values_match(holes):
    """A hole without a value, or a value without a hole, is a mistake."""
    with pytest.raises(KeyError):
        fill("SELECT {a}", **holes)


def test_known_values_may_be_more():
    """From a larger set of values only those that are needed are taken, but all of those."""
    assert fill_known("SELECT {a}", {"a": "1", "b": "2"}) == "SELECT 1"
    with pytest.raises(KeyError):
        fill_known("SELECT {c}", {"a": "1"})


def test_unknown_statement():
    """A statement that is not there is an error, not an empty string."""
    with pytest.raises(FileNotFoundError):
        statement("no_such_statement")


@pytest.mark.parametrize("name", NAMES)
def test_template_is_one_clean_statement(name):
    """A template has no header, no closing semicolon, and no brace that is not a hole's."""
    text = template(name)
    assert not text.startswith("--")
    assert not text.rstrip().endswith(";")
    assert text
    rest = HOLE.sub("", text.replace("'{}'", ""))
    assert re.findall(r"(?<!\[)(?<!\[\^)[{}]", rest) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_hole_is_filled_by_somebody(name):
    """Every hole of a template is a name that the code knows."""
    code = "\n".join(path.read_text() for path in FOLDER.parent.rglob("*.py"))
    aliases = "".join(template(one) for one in ("fragments", "restore_fragments", "references"))
    unknown = [
        hole
        for hole in HOLE.findall(template(name))
        if not (hole.startswith("t_") and hole[2:] in NAMES)
        and not re.search(rf"\b{hole}=|[\"']{hole}[\"']\s*[:\]]", code)
        and not re.search(rf"(AS |\.){hole}\b", aliases)
    ]
    assert unknown == []


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, "NULL"), (5, "5"), (-5, "-5"), ("a'b", "'a''b'"), ("back\\slash", r"E'back\\slash'")],
)
def test_literals(value, written):
    """Values are written so that PostgreSQL reads the same, whatever its settings."""
    assert written == literal(value)


def test_identifiers():
    """Names are quoted, part by part."""
    assert ident("a.b", 'c"d') == '"a.b"."c""d"'


def test_arrays():
    """An array of names is typed, also when it is empty."""
    assert text_array(["a", "b'c"]) == "ARRAY['a', 'b''c']::pg_catalog.text[]"
    assert text_array([]) == "ARRAY[]::pg_catalog.text[]"
