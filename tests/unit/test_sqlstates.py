"""The SQLSTATE of an error decides what happens to the rows."""

import re
from pathlib import Path

import psycopg
import pytest

import dupe_audit
from dupe_audit.writer.error_classes import CLASSES, ErrorClass, classify, safe_reason


def error(sqlstate: str | None) -> psycopg.Error:
    """Return an error as psycopg raises it for a SQLSTATE."""
    if sqlstate is None:
        return psycopg.OperationalError("the connection is lost")
    error_type = psycopg.errors.lookup(sqlstate)
    return error_type(f"error {sqlstate}")


@pytest.mark.parametrize(
    ("sqlstate", "expected"),
    [
        ("40P01", ErrorClass.RETRY),
        ("40001", ErrorClass.RETRY),
        ("55P03", ErrorClass.RETRY),
        ("57014", ErrorClass.RETRY),
        ("53100", ErrorClass.RETRY),
        ("53300", ErrorClass.RETRY),
        ("57P01", ErrorClass.RECONNECT),
        ("57P02", ErrorClass.RECONNECT),
        ("57P03", ErrorClass.RECONNECT),
        ("08006", ErrorClass.RECONNECT),
        ("25006", ErrorClass.RECONNECT),
        ("42704", ErrorClass.REPROBE),
        ("42P10", ErrorClass.REPROBE),
        ("55000", ErrorClass.REPROBE),
        ("0A000", ErrorClass.REPROBE),
        ("22P02", ErrorClass.ROW),
        ("22001", ErrorClass.ROW),
        ("22P05", ErrorClass.ROW),
        ("23502", ErrorClass.ROW),
        ("23503", ErrorClass.ROW),
        ("23514", ErrorClass.ROW),
        ("23P01", ErrorClass.ROW),
        ("54000", ErrorClass.ROW),
        ("23000", ErrorClass.ROW),
        ("54001", ErrorClass.ROW),
        ("42846", ErrorClass.ROW),
        ("2200H", ErrorClass.FATAL),
        ("P0001", ErrorClass.ROW),
        ("23505", ErrorClass.UNIQUE),
        ("42P01", ErrorClass.REPROBE),
        ("42703", ErrorClass.REPROBE),
        ("42501", ErrorClass.FATAL),
        ("XX000", ErrorClass.FATAL),
    ],
)
def test_class_of_an_error(sqlstate, expected):
    """Each SQLSTATE belongs to one class of errors, which decides what to do next."""
    assert expected is classify(error(sqlstate))


def test_errors_that_never_reached_the_server():
    """An error without a SQLSTATE is either a lost connection or a value that could not be sent."""
    assert ErrorClass.RECONNECT is classify(error(None))
    assert ErrorClass.RECONNECT is classify(psycopg.InterfaceError("the connection is closed"))
    assert ErrorClass.ROW is classify(psycopg.DataError("cannot dump"))
    assert ErrorClass.ROW is classify(psycopg.ProgrammingError("cannot adapt type 'object'"))


def test_the_table_has_no_dead_entry():
    """No entry is hidden by another, and each is a SQLSTATE or a class of SQLSTATEs that PostgreSQL has."""
    whole = {code for code in CLASSES if len(code) == 5}
    assert all(psycopg.errors.lookup(code) for code in whole)
    assert {code for code in CLASSES if len(code) == 2} == CLASSES.keys() - whole
    assert [code for code in whole if CLASSES.get(code[:2]) is CLASSES[code]] == []


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        ("22P02", 'invalid input syntax for type uuid: "my "secret" value"', "invalid input syntax for type uuid: …"),
        ("22003", 'value "99999999999" is out of range for type integer', "value … is out of range for type integer"),
        ("22P02", 'invalid input syntax for type integer: "my\nvalue"', "invalid input syntax for type integer: …"),
        ("22P02", "ungültige Eingabesyntax für Typ integer: »4711«", "a value is not valid for its column"),
        ("22P02", "invalid input syntax for type integer: »4711«", "a value is not valid for its column"),
        ("P0001", "customer 4711 is blocked", "a trigger of the table rejected the row"),
        ("23514", 'violates check constraint "positive"', 'violates check constraint "positive"'),
    ],
)
def test_a_reason_contains_no_value(code, text, expected):
    """A reason says what is wrong with a row, but contains none of its values."""
    error_type = psycopg.errors.lookup(code)
    assert expected == safe_reason(error_type(text))


def test_error_codes_are_literals_in_no_statement():
    """Statements and the code of scripts take error codes from this module, so each is named and explained once."""
    folder = Path(dupe_audit.__file__).parent
    sources = [*folder.glob("statements/*.sql"), *folder.glob("directives/script/*.py")]
    codes = re.compile(r"'(?:[0-9][0-9A-F]|P0|XX)[0-9A-Z]{3}'")
    assert [] == [(path.name, code) for path in sources for code in codes.findall(path.read_text())]
