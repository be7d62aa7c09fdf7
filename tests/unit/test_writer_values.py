"""Values are converted to one form, or rejected before they reach the server."""

import datetime as dt
import uuid
from decimal import Decimal
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from dupe_audit.writer.values import InvalidRow, RowConverter

UTC = dt.UTC


def converted(value, base="text"):
    """Return a single value as it would be sent to a column of a type."""
    return RowConverter(["c"], {"c": base})([value])[0]


@pytest.mark.parametrize(
    ("value", "base", "sent"),
    [
        ("text", "text", "text"),
        ("ä€😀", "text", "ä€😀"),
        (None, "jsonb", None),
        (True, "bool", "true"),
        (5, "int4", "5"),
        (2**70, "numeric", str(2**70)),
        (0.1, "float8", "0.1"),
        (Decimal("1.10"), "numeric", "1.10"),
        (uuid.UUID(int=1), "uuid", "00000000-0000-0000-0000-000000000001"),
        (dt.date(2030, 1, 2), "date", "2030-01-02"),
        (b"\x00\x01", "bytea", b"\x00\x01"),
        (("a", 1, None), "_text", ["a", "1", None]),
        ([1.5, [True]], "_text", ["1.5", ["true"]]),
        (HTTPStatus.OK, "int4", "200"),
        ([dt.datetime(2030, 1, 31, tzinfo=UTC), None], "_timestamptz", ["2030-01-31T00:00:00+00:00", None]),
        ({"b": [1, "ä"]}, "jsonb", '{"b":[1,"ä"]}'),
        ([1, 2], "json", "[1,2]"),
        (Jsonb({"a": 1}), "jsonb", '{"a":1}'),
        ('{"a": 1}', "jsonb", '{"a": 1}'),
        (True, "jsonb", "true"),
        ("2030-01-31T12:00:00.1234567Z", "timestamptz", "2030-01-31T12:00:00.1234567Z"),
        ("2030-01-31 12:00:00,5+05:30", "timestamptz", "2030-01-31 12:00:00,5+05:30"),
        (dt.datetime(2030, 1, 31, tzinfo=UTC), "timestamptz", "2030-01-31T00:00:00+00:00"),
        (dt.datetime(2030, 1, 31), "timestamp", "2030-01-31T00:00:00"),  # noqa: DTZ001 - without a time zone on purpose
        ("2030-01-31T12:00", "timestamp", "2030-01-31T12:00"),
    ],
)
def test_converted_values(value, base, sent):
    """A value is sent as text that PostgreSQL reads exactly, without losing a digit."""
    assert sent == converted(value, base)
    assert type(sent) is type(converted(value, base))


@pytest.mark.parametrize(
    ("value", "base"),
    [
        ("a\x00b", "text"),
        (["ok", "a\x00b"], "_text"),
        ("\ud800", "text"),
        ({"a": "\udfff"}, "jsonb"),
        (float("nan"), "jsonb"),
        ({"a": object()}, "jsonb"),
        (dt.datetime(2030, 1, 31), "timestamptz"),  # noqa: DTZ001 - without a time zone on purpose
        (dt.datetime(2030, 1, 31, tzinfo=UTC), "timestamp"),
        ("2030-01-31T12:00:00", "timestamptz"),
        ("2030-01-31T12:00:00Z", "timestamp"),
        ("now", "timestamptz"),
        ("infinity", "timestamptz"),
        ("yesterday", "timestamp"),
        ("", "timestamptz"),
        ("2030-01-31T12:00:00Z ", "timestamptz"),
    ],
)
def test_invalid_values(value, base):
    """A value that cannot be stored, or whose meaning depends on when it is delivered, is rejected and not quoted."""
    with pytest.raises(InvalidRow) as error:
        converted(value, base)
    assert "2030" not in str(error.value).replace("2030-01-31T12:00:00.000000", "")


def test_rows_by_name_and_by_position():
    """A row is a sequence in the columns' order or a mapping by their names, and nothing else."""
    convert = RowConverter(["a", "b"], {"a": "text", "b": "int4"})
    assert ("x", "1") == convert(["x", 1]) == convert({"b": 1, "a": "x"})
    for wrong in (["x"], ["x", 1, 2], {"a": "x"}, {"a": "x", "c": 1}, {"a": "x", "b": 1, "c": 2}):
        with pytest.raises(InvalidRow):
            convert(wrong)


VALUES = {
    "text": st.none() | st.text() | st.booleans() | st.integers() | st.floats() | st.lists(st.text(max_size=2)),
    "numeric": st.integers() | st.decimals() | st.sampled_from([10**5000, HTTPStatus.OK, "1.0"]),
    "timestamptz": st.sampled_from(["2030-01-31T12:00:00Z", "now", None, dt.datetime(2030, 1, 31, tzinfo=UTC)]),
    "jsonb": st.none() | st.text() | st.dictionaries(st.text(), st.floats() | st.characters(categories=["Cs"])),
    "uuid": st.uuids() | st.uuids().map(str),
    "_text": st.lists(st.none() | st.text(max_size=2)),
}


def outcomes(convert, rows):
    """Return what becomes of each row: its values, or why it is rejected."""
    for row in rows:
        try:
            yield convert(row)
        except InvalidRow as invalid:
            yield str(invalid)


@given(rows=st.lists(st.tuples(*VALUES.values()), max_size=5))
def test_rows_are_converted_together_as_they_are_alone(rows):
    """Whatever the other rows of a batch hold, a row is converted to the same values, or rejected."""
    convert = RowConverter(list(VALUES), {base: base for base in VALUES})
    alone = list(outcomes(convert, rows))
    if any(isinstance(outcome, str) for outcome in alone):
        with pytest.raises(InvalidRow):
            convert.together(rows)
    else:
        assert repr(alone) == repr(convert.together(rows))
