"""A change of a column's type is harmless only if it is known that values which differ still differ afterwards."""

import pytest

from dupe_audit.directives.reading.retyping import stays_distinct


@pytest.mark.parametrize(
    ("old", "new", "using"),
    [
        ("integer", "BIGINT", None),
        ("bigint", "int4", "k::int4"),
        ("character varying(50)", "VARCHAR(100)", None),
        ("character varying(50)", "text", "CAST(k AS text)"),
        ("text", "varchar", None),
        ("character(3)", "varchar(3)", None),
        ("uuid", "VARCHAR(36)", None),
        ("numeric(10,2)", "NUMERIC(12, 4)", None),
        ("numeric(10,2)", "numeric", None),
        ("integer", "numeric(20, 0)", None),
        ("timestamp(3) without time zone", "timestamp", None),
        ("date", "TIMESTAMP WITHOUT TIME ZONE", None),
        ("status", "varchar(63)", None),
        ("status", "status_new", "k::text::status_new"),
        ("text", "status", '"k"::status'),
        ("timestamp with time zone", "TIMESTAMPTZ", None),
        ("character varying(9)", "varchar(3)", None),
        ("status", "varchar(9)", "k::text"),
        ('"Status"', '"Status"', 'k::text::"Status"'),
        ("character varying(50)", 'VARCHAR(50) COLLATE "C"', None),
    ],
)
def test_types_in_which_values_stay_distinct(old, new, using):
    """Wider types, integers, and enums through their labels keep values apart; a text that is too long is an error."""
    assert stays_distinct(old, new, using, "k", {"status", "status_new", '"Status"'})


@pytest.mark.parametrize(
    ("old", "new", "using"),
    [
        ("timestamp with time zone", "date", None),
        ("timestamp with time zone", "timestamp", None),
        ("text", "citext", None),
        ("text", "TEXT COLLATE nocase", None),
        ("numeric(10,4)", "numeric(10, 2)", None),
        ("numeric", "numeric(10, 2)", None),
        ("numeric(10,2)", "integer", None),
        ("bigint", "double precision", None),
        ("text", "integer", "k::integer"),
        ("text", "character(9)", None),
        ("character varying(9)", "varchar(3)", "k::varchar(3)"),
        ("text", "text", "lower(k)"),
        ("text", "text", "k::date::text"),
        ("bigint", "varchar(9)", None),
        ("timestamp(3) without time zone", "timestamp(0)", None),
        ("text", "own_type", None),
        ("text", None, None),
        ("jsonb", "text", None),
    ],
)
def test_types_in_which_values_may_become_equal(old, new, using):
    """Narrower and unknown types, other equality, and expressions are not taken for harmless."""
    assert not stays_distinct(old, new, using, "k", {"status"})
