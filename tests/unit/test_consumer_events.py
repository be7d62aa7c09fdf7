"""Events: which become rows, and the reason for rejecting each of the others."""

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupe_audit.consumer.config import ColumnMapping, EventSettings
from dupe_audit.consumer.events import Decoder
from dupe_audit.consumer.fields import TYPES, Poison

UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def column(kind: str, **options: Any) -> ColumnMapping:
    """Return a column x, read from the field x."""
    return ColumnMapping(**{"name": "x", "path": ("x",), "type": kind, "convert": TYPES[kind], **options})


def decoded(kind: str, value: bytes, **options: Any) -> Any:
    """Return what the writer gets for an event whose field x is the JSON *value*."""
    (converted,) = Decoder([column(kind, **options)], EventSettings())(b'{"x":' + value + b"}")
    return converted


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "tombstone"),
        (b"", "not_json"),
        (b"nonsense", "not_json"),
        (b'{"x": 1', "not_json"),
        (b'{"x": NaN}', "not_json"),
        (b'{"x": -Infinity}', "not_json"),
        (b'{"x": "tab\tin it"}', "not_json"),
        (b'\xef\xbb\xbf{"x": 1}', "not_json"),
        (b'{"x": ' + b"9" * 5000 + b"}", "not_json"),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not_json"),
        (b"\xff\xfe{", "not_utf8"),
        ('{"x": 1}'.encode("utf-16"), "not_utf8"),
        (b'{"x": "\xed\xa0\x80"}', "not_utf8"),
        (b"[1]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'"x"', "not_an_object"),
        (b'{"x": 1, "x": 2}', "duplicate_field"),
        (b'{"x": 1, "y": {"z": 1, "z": 1}}', "duplicate_field"),
        (b"{}", "missing_field"),
        (b'{"x": null}', "missing_field"),
        (b'{"x": "' + b"a" * 1_048_576 + b'"}', "too_large"),
    ],
)
def test_messages_that_are_not_events(value, reason):
    """A message that can never become a row is poison with a documented reason."""
    with pytest.raises(Poison) as caught:
        Decoder([column("bigint")], EventSettings())(value)
    assert reason == caught.value.reason


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("text", b"1", "wrong_type"),
        ("text", b'"a\\u0000b"', "bad_text"),
        ("text", b'"\\ud800"', "bad_text"),
        ("uuid", b'"nonsense"', "wrong_type"),
        ("uuid", b"5", "wrong_type"),
        ("integer", b"1.0", "wrong_type"),
        ("integer", b"true", "wrong_type"),
        ("integer", b'"1"', "wrong_type"),
        ("integer", b"2147483648", "out_of_range"),
        ("smallint", b"-32769", "out_of_range"),
        ("bigint", b"9223372036854775808", "out_of_range"),
        ("numeric", b'"1"', "wrong_type"),
        ("double", b"false", "wrong_type"),
        ("boolean", b"1", "wrong_type"),
        ("timestamptz", b"1769860800", "wrong_type"),
        ("timestamptz", b'"2026-01-31T12:00:00"', "bad_timestamp"),
        ("timestamptz", b'"2026-13-01T12:00:00Z"', "bad_timestamp"),
        ("timestamptz", b'"2026-01-31T25:00:00Z"', "bad_timestamp"),
        ("timestamptz", b'"2026-01-31T12:00:00,5Z"', "bad_timestamp"),
        ("timestamptz", b'"2026-01-31T12:00:00+16:00"', "bad_timestamp"),
        ("timestamptz", b'"now"', "bad_timestamp"),
        ("timestamptz", b'"infinity"', "bad_timestamp"),
        ("timestamptz", '"\uff12026-01-31T12:00:00Z"'.encode(), "bad_timestamp"),
        ("timestamp", b'"2026-01-31T12:00:00Z"', "bad_timestamp"),
        ("date", b'"2026-1-31"', "bad_timestamp"),
        ("jsonb", b'{"a": "\\u0000"}', "bad_text"),
        ("jsonb", b'{"\\\\\\u0000": 1}', "bad_text"),
        ("jsonb", b'["\\udfff"]', "bad_text"),
        ("text[]", b'"xyz"', "wrong_type"),
        ("text[]", b"[1]", "wrong_type"),
        ("integer[]", b"[[1]]", "wrong_type"),
    ],
)
def test_fields_of_the_wrong_type(kind, value, reason):
    """A field of the wrong type is poison; the message names the field but not its value."""
    with pytest.raises(Poison, match=r"^field 'x': ") as caught:
        decoded(kind, value)
    assert reason == caught.value.reason
    assert value.decode().strip('"') not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("text", '"ä😀"'.encode(), "ä😀"),
        ("text", b'"\\ud83d\\ude00"', "😀"),
        ("uuid", f'"{UUID.upper()}"'.encode(), UUID.upper()),
        ("uuid", f'"{UUID.replace("-", "")}"'.encode(), UUID.replace("-", "")),
        ("bigint", b"-9223372036854775808", -(1 << 63)),
        ("numeric", b"0.10", "0.10"),
        ("numeric", b"0.12345678901234567890123", "0.12345678901234567890123"),
        ("numeric", b"123456789012345678901234567890", "123456789012345678901234567890"),
        ("double", b"1e3", "1e3"),
        ("boolean", b"false", False),
        ("timestamptz", b'"2026-01-31T12:00:00.123456789Z"', "2026-01-31T12:00:00.123456789Z"),
        ("timestamptz", b'"2026-01-31 12:00:00+05:30"', "2026-01-31 12:00:00+05:30"),
        ("timestamptz", b'"2026-01-31T12:00-0800"', "2026-01-31T12:00-0800"),
        ("timestamptz", b'"2026-06-30t23:59:60z"', "2026-06-30t23:59:60z"),
        ("timestamp", b'"2026-01-31T12:00:00"', "2026-01-31T12:00:00"),
        ("date", b'"2026-01-31"', "2026-01-31"),
        ("jsonb", b'"just text"', '"just text"'),
        ("jsonb", b"5", "5"),
        ("jsonb", b"false", "false"),
        ("jsonb", b'{"a": [1.10, 1E5, null, "\\\\u0000"]}', '{"a":[1.10,1E5,null,"\\\\u0000"]}'),
        ("jsonb", '{"ä": 1.5}'.encode(), '{"ä":1.5}'),
        ("text[]", b'["a", null]', ["a", None]),
        ("uuid[]", b"[]", []),
    ],
)
def test_fields_as_the_writer_gets_them(kind, value, expected):
    """A valid field reaches the writer with every digit and every character that was sent."""
    assert (expected, type(expected)) == ((converted := decoded(kind, value)), type(converted))


def test_defaults_and_nulls():
    """A missing or null field becomes the default, or NULL without a default."""
    optional = Decoder(
        [column("text", required=False), column("integer", path=("y",), required=False, default=7)], EventSettings()
    )
    assert [(None, 7)] * 2 == [optional(b"{}"), optional(b'{"x":null,"y":null}')]
    assert ("a", 0) == optional(b'{"x":"a","y":0}')


def test_paths():
    """A path leads into nested objects; anything on the way that is not an object has no fields."""
    decode = Decoder([column("text", path=("trace", "id"), required=False)], EventSettings())
    assert [("a",), (None,), (None,)] == [
        decode(value) for value in (b'{"trace":{"id":"a"}}', b'{"trace":"id"}', b'{"trace":[]}')
    ]


def test_extra_fields():
    """Fields that no column reads are ignored, or cause a rejection whose message does not name them."""
    extra = b'{"x": "a", "secret": 1}'
    assert ("a",) == Decoder([column("text")], EventSettings())(extra)
    strict = Decoder([column("text")], EventSettings(extra="reject"))
    assert ("a",) == strict(b'{"x": "a"}')
    with pytest.raises(Poison) as caught:
        strict(extra)
    assert "extra_field" == caught.value.reason
    assert "secret" not in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary())
def test_any_bytes_are_a_row_or_poison(value):
    """No sequence of bytes raises anything but Poison."""
    with suppress(Poison):
        Decoder([column("jsonb", required=False)], EventSettings())(value)


@given(json_values)
def test_any_json_arrives_unchanged(value):
    """A JSON value reaches a jsonb column unchanged, or is poison because of a string in it."""
    sent = json.dumps(value)
    if re.search(r"\\u(0000|d[89a-f])", sent):
        return  # NUL and lone surrogates have their own examples
    converted = decoded("jsonb", sent.encode(), required=False)
    assert value == (json.loads(converted) if converted is not None else None)
