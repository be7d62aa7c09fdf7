"""Hard cases B: what is equal, what is not, and what cannot be compared."""

import pytest
from sqlalchemy.exc import DBAPIError

from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import enforce
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.preflight import blockers, preflight

KEY = UniqueKey(table="t", columns=("k",), name="uq")


@pytest.mark.parametrize("columns", [("k",), ("k", "l")], ids=["one column", "two columns"])
def test_h12_h27_rows_without_a_key_value_stay(sql, conn, clean, live, columns):
    """Rows with a NULL in the key are not duplicates: they stay, and the constraint accepts them."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, l int)")
    sql("INSERT INTO t VALUES (1, NULL, 1), (2, NULL, 1), (3, NULL, NULL), (4, NULL, NULL), (5, 7, 1), (6, 7, 1)")
    key = UniqueKey(table="t", columns=columns, name="uq")
    assert preflight(conn, key).counts.extras == 1
    clean(key)
    assert [1, 2, 3, 4, 5] == live()
    enforce(conn, key, BuildRule())


@pytest.mark.min_pg(15)
def test_h28_rows_with_equal_nulls_are_one_group(sql, live, clean, there_and_back):
    """With NULLS NOT DISTINCT, rows with the same NULLs are a group: archived on upgrade, restored on downgrade."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, l int)")
    sql("INSERT INTO t VALUES (1, NULL, 1), (2, NULL, 1), (3, NULL, NULL), (4, NULL, NULL), (5, 7, 1), (6, 7, 1)")
    key = UniqueKey(table="t", columns=("k", "l"), name="uq", nulls_not_distinct=True)
    assert 3 == there_and_back(key)
    clean(key)
    assert [1, 3, 5] == live()


KINDS = {
    "hstore": ("hstore", ["a=>1, b=>2", "b=>2, a=>1", "a=>1"]),
    "domain over an array": ("numbers", ["{1.0,2}", "{1,2.00}", "{2,1}"]),
    "array of an enum": ("mood[]", ["{sad,ok}", "{sad,ok}", "{ok,sad}"]),
    "array of citext": ("citext[]", ["{a,B}", "{A,b}", "{b,a}"]),
    "range of a discrete type": ("daterange", ["[2024-01-01,2024-01-02]", "[2024-01-01,2024-01-03)", "empty"]),
    "user-defined range": ("span", ["[0.0,1.0]", "[-0.0,1]", "[0,1)"]),
    "nested composite": ("outer_pair", ['(1,"(1.0,a)")', '(1,"(1.00,a)")', '(1,"(1,b)")']),
    "uuid": ("uuid", ["{a0eebc999c0b4ef8bb6d6bb9bd380a11}", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "0" * 32]),
    "timetz": ("timetz", ["12:00+00", "12:00+00", "13:00+01"]),
    "oidvector": ("oidvector", ["1 2", "1  2", "2 1"]),
    '"char"': ('"char"', ["x", "x", "y"]),
}


@pytest.mark.parametrize(("type_", "values"), KINDS.values(), ids=KINDS)
@pytest.mark.representatives("domain over an array", "range of a discrete type", "nested composite")
def test_h41_nested_types_compare_as_the_index_does(sql, conn, clean, live, type_, values):
    """Domains, enums, arrays, ranges and composites are grouped as a unique index would: two of three are one key."""
    if type_ == "hstore" and not sql("SELECT 1 FROM pg_extension WHERE extname = 'hstore'"):
        pytest.skip("the server has no hstore")
    if "citext" in type_ and not sql("SELECT 1 FROM pg_extension WHERE extname = 'citext'"):
        pytest.skip("the server has no citext")
    sql("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN numbers AS numeric[] CHECK (cardinality(VALUE) > 0)")
    sql("CREATE TYPE span AS RANGE (subtype = float8)")
    sql("CREATE TYPE inner_pair AS (n numeric, s text); CREATE TYPE outer_pair AS (i int, p inner_pair)")
    sql(f"CREATE TABLE t (id int PRIMARY KEY, k {type_})")
    for number, value in enumerate(values, start=1):
        sql(f"INSERT INTO t VALUES ({number}, '{value}')")
    report = preflight(conn, KEY)
    assert report.counts
    assert (1, 1) == (report.counts.groups, report.counts.extras)
    clean(KEY, divergent="archive")
    assert [1, 3] == live()
    enforce(conn, KEY, BuildRule())


@pytest.mark.parametrize("type_", ["json", "xml", "point", "json[]", "with_json", "document"])
@pytest.mark.representatives("json", "point", "document")
def test_h35_h41_key_that_cannot_be_compared_loses_no_row(sql, conn, live, type_):
    """A type without btree equality, at any depth, is refused; even a cleanup by itself deletes nothing."""
    sql("CREATE TYPE with_json AS (n int, j json); CREATE DOMAIN document AS json")
    sql(f"CREATE TABLE t (id int PRIMARY KEY, k {type_}); INSERT INTO t (id) VALUES (1), (2)")
    assert ["no-equality"] == [f.id for f in blockers(conn, KEY, CleanupRule())]
    with pytest.raises(DBAPIError, match=r"btree|equality|ordering|compar"):
        list(cleanup(conn, KEY, CleanupRule()))
    assert [1, 2] == live()


def test_h40_included_columns_count_towards_the_width(sql, conn):
    """An INCLUDE column that is too wide for the index is reported before the build, as a key is."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v text)")
    sql("INSERT INTO t SELECT 1, 7, string_agg(md5(i::text), '') FROM generate_series(1, 200) AS i")
    key = UniqueKey(table="t", columns=("k",), include=("v",), name="uq")
    assert ["key-too-wide"] == [f.id for f in blockers(conn, key, CleanupRule())]
    assert ["key-too-wide"] == [f.id for f in preflight(conn, key).findings]
    assert [] == blockers(conn, KEY, CleanupRule())
    with pytest.raises(DBAPIError, match="index row size"):
        enforce(conn, key, BuildRule())


def test_h39_values_are_compared_column_by_column(sql, conn, clean, live):
    """Keys that differ by column are different keys, even if their concatenated text is the same."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k text, l text)")
    sql("INSERT INTO t VALUES (1, 'x-', 'y'), (2, 'x', '-y'), (3, 'x-', 'y'), (4, 'x,y', ''), (5, 'x', 'y,')")
    clean(UniqueKey(table="t", columns=("k", "l")))
    assert [1, 2, 4, 5] == live()


def test_h37_time_zone_of_the_session_does_not_matter(sql, connect, live):
    """Timestamps are compared as instants, whatever the session's time zone."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k timestamptz, l timetz)")
    sql("INSERT INTO t VALUES (1, '2024-03-31 01:30+00', '12:00+00'), (2, '2024-03-31 03:30+02', '12:00+00')")
    sql("INSERT INTO t VALUES (3, '2024-03-31 01:30+00', '13:00+01')")
    key = UniqueKey(table="t", columns=("k", "l"))
    list(cleanup(connect(TimeZone="Europe/Berlin", DateStyle="German"), key, CleanupRule()))
    assert [1, 3] == live()
