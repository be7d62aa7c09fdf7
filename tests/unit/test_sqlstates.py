"""What an error of the server means is read from one table."""

import psycopg
import pytest

from dupe_audit.writer.sqlstates import CLASSES, Class, classify, why


def error(sqlstate: str | None) -> psycopg.Error:
    """Return an error as psycopg raises it for a SQLSTATE."""
    if sqlstate is None:
        return psycopg.OperationalError("the connection is lost")
    known = psycopg.errors.lookup(sqlstate)
    return known(f"error {sqlstate}")


@pytest.mark.parametrize(
    ("sqlstate", "expected"),
    [
        ("40P01", Class.RETRY),
        ("40001", Class.RETRY),
        ("55P03", Class.RETRY),
        ("57014", Class.RETRY),
        ("53100", Class.RETRY),
        ("53300", Class.RETRY),
        ("57P01", Class.RECONNECT),
        ("57P02", Class.RECONNECT),
        ("57P03", Class.RECONNECT),
        ("08006", Class.RECONNECT),
        ("25006", Class.RECONNECT),
        ("42704", Class.REPROBE),
        ("42P10", Class.REPROBE),
        ("55000", Class.REPROBE),
        ("0A000", Class.REPROBE),
        ("22P02", Class.ROW),
        ("22001", Class.ROW),
        ("22P05", Class.ROW),
        ("23502", Class.ROW),
        ("23503", Class.ROW),
        ("23514", Class.ROW),
        ("23P01", Class.ROW),
        ("54000", Class.ROW),
        ("23000", Class.ROW),
        ("54001", Class.ROW),
        ("42846", Class.ROW),
        ("2200H", Class.FATAL),
        ("P0001", Class.ROW),
        ("23505", Class.UNIQUE),
        ("42P01", Class.REPROBE),
        ("42703", Class.REPROBE),
        ("42501", Class.FATAL),
        ("XX000", Class.FATAL),
    ],
)
def test_class_of_an_error(sqlstate, expected):
    """Each SQLSTATE has one meaning: again, over a new connection, after a look, this row, or the end."""
    assert expected is classify(error(sqlstate))


def test_errors_that_never_reached_the_server():
    """Without a SQLSTATE a lost connection is told from a value that could not be sent."""
    assert Class.RECONNECT is classify(error(None))
    assert Class.RECONNECT is classify(psycopg.InterfaceError("the connection is closed"))
    assert Class.ROW is classify(psycopg.DataError("cannot dump"))
    assert Class.ROW is classify(psycopg.ProgrammingError("cannot adapt type 'object'"))


def test_the_table_has_no_dead_entry():
    """No entry is hidden by another, and each names a SQLSTATE or a class of them that PostgreSQL has."""
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
        ("22P02", "ungültige Eingabesyntax für Typ integer: »4711«", "a value is none that its column can store"),
        ("22P02", "invalid input syntax for type integer: »4711«", "a value is none that its column can store"),
        ("P0001", "customer 4711 is blocked", "a trigger of the table refused the row"),
        ("23514", 'violates check constraint "positive"', 'violates check constraint "positive"'),
    ],
)
def test_a_reason_holds_no_value(code, text, expected):
    """A reason says what is wrong with a row and never what is in it."""
    known = psycopg.errors.lookup(code)
    assert expected == why(known(text))
