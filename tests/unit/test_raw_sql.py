"""SQL text is read for what it changes about tables and their uniqueness; what cannot be read is unclear."""

import pytest

from dupe_audit.directives.reading.changes import (
    Gone,
    NewColumn,
    NewKey,
    NewName,
    NewRoutine,
    NewRows,
    NewTable,
    Renamed,
    Retyped,
    Unclear,
)
from dupe_audit.directives.reading.raw_sql import changes_of_text
from dupe_audit.model import Expression


def key(name, table, columns, **more):
    return NewKey(name=name, table=table, columns=columns, **more)


def without_sql(change):
    """Return a change with an empty statement, which is compared elsewhere."""
    values = {name: getattr(change, name) for cls in type(change).__mro__ for name in getattr(cls, "__slots__", ())}
    return type(change)(**(values | {"sql": ""})) if isinstance(change, NewKey) else change


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("CREATE UNIQUE INDEX i ON t (a, b)", [key("i", "t", ("a", "b"))]),
        (
            'create unique index concurrently if not exists I on only S.T using btree (A desc, "B c" nulls first)',
            [key("i", "t", ("a", "B c"), schema="s")],
        ),
        (
            "CREATE UNIQUE INDEX ON t (a) INCLUDE (b) NULLS NOT DISTINCT WITH (fillfactor = 70)",
            [key(None, "t", ("a",), nulls_not_distinct=True)],
        ),
        ("CREATE UNIQUE INDEX i ON t (a) WHERE b IS NULL", [key("i", "t", None, elements=("a",), where="b IS NULL")]),
        ("CREATE UNIQUE INDEX i ON t (lower(a), b)", [key("i", "t", None, elements=(Expression("lower(a)"), "b"))]),
        ("CREATE UNIQUE INDEX i ON t (a text_pattern_ops)", [key("i", "t", None)]),
        ("CREATE INDEX i ON t (a)", [NewName(name="i", table="t")]),
        ("ALTER TABLE t ADD UNIQUE (a)", [key(None, "t", ("a",))]),
        (
            "ALTER TABLE IF EXISTS ONLY s.t ADD CONSTRAINT c UNIQUE NULLS NOT DISTINCT (a, b) DEFERRABLE",
            [key("c", "t", ("a", "b"), schema="s", nulls_not_distinct=True)],
        ),
        ("ALTER TABLE t ADD CONSTRAINT c PRIMARY KEY (a)", [key("c", "t", ("a",), primary=True)]),
        ("ALTER TABLE t ADD CONSTRAINT c UNIQUE USING INDEX i", [Renamed(kind="name", table="t", name="i", new="c")]),
        ("ALTER TABLE t ADD CONSTRAINT c EXCLUDE USING gist (a WITH =, during WITH &&)", [key("c", "t", None)]),
        ("ALTER TABLE t ADD COLUMN a int UNIQUE", [NewColumn(table="t", column="a"), key(None, "t", ("a",))]),
        (
            "ALTER TABLE t ADD a int DEFAULT 0, ALTER b TYPE text USING b::text, ADD CONSTRAINT f CHECK (a > 0)",
            [
                NewColumn(table="t", column="a", has_default=True),
                Retyped(table="t", column="b", type="text", using="b::text"),
                NewName(table="t", name="f"),
            ],
        ),
        (
            "ALTER TABLE t DROP CONSTRAINT IF EXISTS c CASCADE, DROP a, DROP COLUMN IF EXISTS b RESTRICT",
            [
                Gone(kind="name", table="t", name="c"),
                Gone(kind="column", table="t", name="a"),
                Gone(kind="column", table="t", name="b"),
            ],
        ),
        (
            (
                "ALTER TABLE t RENAME TO u; ALTER TABLE u RENAME a TO b; ALTER TABLE u RENAME CONSTRAINT c TO d;"
                " ALTER TABLE u SET SCHEMA s; ALTER INDEX s.i RENAME TO j"
            ),
            [
                Renamed(kind="table", table="t", name="t", new="u"),
                Renamed(kind="column", table="u", name="a", new="b"),
                Renamed(kind="name", table="u", name="c", new="d"),
                Renamed(kind="table", table="u", name="u", new="u", new_schema="s"),
                Renamed(kind="name", schema="s", name="i", new="j"),
            ],
        ),
        (
            "DROP TABLE IF EXISTS a, s.b CASCADE",
            [Gone(kind="table", table="a", name=""), Gone(kind="table", schema="s", table="b", name="")],
        ),
        ("DROP INDEX CONCURRENTLY i, j", [Gone(kind="name", name="i"), Gone(kind="name", name="j")]),
        (
            "CREATE TABLE t (a int PRIMARY KEY, b numeric(9, 2) UNIQUE, UNIQUE (a, b), CONSTRAINT c UNIQUE (b))",
            [
                NewTable(table="t"),
                key(None, "t", ("b",), inline=True),
                key(None, "t", ("a", "b"), inline=True),
                key("c", "t", ("b",), inline=True),
            ],
        ),
    ],
)
def test_common_forms_are_read(sql, expected):
    """The common forms of statements about keys, columns and names are read, whatever their case and spacing."""
    assert [without_sql(change) for change in changes_of_text(sql)] == expected


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "SELECT 'UNIQUE'",
        "INSERT INTO t VALUES ('UNIQUE (a)') ON CONFLICT DO NOTHING",
        "DELETE FROM t WHERE a = 'x''; ALTER TABLE t ADD UNIQUE (a)'",
        "-- ALTER TABLE t ADD UNIQUE (a)\nSELECT 1 /* PRIMARY KEY */",
        "CREATE TEMPORARY TABLE t (a int UNIQUE)",
        "ALTER TABLE t ALTER COLUMN a DROP NOT NULL, OWNER TO u, SET (fillfactor = 70)",
        "ALTER TABLE t ALTER a SET DEFAULT 'PRIMARY KEY'",
        "DROP VIEW v; DROP TRIGGER unique_trigger ON t",
        "COMMENT ON TABLE t IS 'UNIQUE'",
        "CREATE EXTENSION IF NOT EXISTS citext",
    ],
)
def test_what_changes_nothing_about_uniqueness(sql):
    """Data, comments, strings, bodies of functions and other definitions are not mistaken for uniqueness."""
    assert changes_of_text(sql) == []


@pytest.mark.parametrize(
    ("sql", "distinct"),
    [
        ("CREATE TABLE t AS SELECT * FROM u", None),
        ("CREATE UNLOGGED TABLE t WITH (fillfactor = 70) AS TABLE u WITH DATA", None),
        ("CREATE TABLE t (a, b) AS (SELECT DISTINCT x, y FROM u)", {"a", "b"}),
        ("SELECT u.x AS a, 1 INTO UNLOGGED TABLE t FROM u GROUP BY u.x", {"a"}),
        ("INSERT INTO t AS i (a, b) OVERRIDING USER VALUE SELECT lower(x), max(y) FROM u GROUP BY 1", {"a"}),
        ("INSERT INTO t (a, b) SELECT lower(x), max(y) FROM u GROUP BY lower(x) LIMIT 9", {"a"}),
        ("INSERT INTO t (a, b) SELECT x, y FROM u ORDER BY x LIMIT 1", set()),
        ("INSERT INTO t (a, b) SELECT x, y FROM (SELECT * FROM u LIMIT 1) AS u, v", None),
        ("INSERT INTO t SELECT DISTINCT ON (a, b) * FROM u", {"a", "b"}),
        ("INSERT INTO t (a) SELECT DISTINCT x FROM u UNION ALL SELECT x FROM v", None),
        ("INSERT INTO t (a) SELECT x.i FROM generate_series(1, 2) AS x (i) JOIN u ON true", None),
        ("INSERT INTO t (a) SELECT DISTINCT coalesce(x, y) FROM u", {"a"}),
        ("INSERT INTO t (SELECT * FROM u)", None),
        ("WITH w AS (DELETE FROM u RETURNING *) INSERT INTO t SELECT * FROM w", None),
        ("COPY t (a) FROM '/tmp/t'", None),
    ],
)
def test_rows_from_elsewhere_are_read(sql, distinct):
    """A statement that fills a table is read with the columns in which its rows are distinct, if they are known."""
    fill = changes_of_text(sql)[-1]
    assert isinstance(fill, NewRows)
    assert (fill.table, fill.rows, fill.distinct) == ("t", True, distinct)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t DEFAULT VALUES",
        "INSERT INTO t (a) VALUES ((SELECT max(x) FROM u)), (2)",
        "INSERT INTO t (a) SELECT x FROM (VALUES (1), (2)) AS v (x) WHERE x IS DISTINCT FROM 3",
        "INSERT INTO t SELECT * FROM unnest(ARRAY[1, 2])",
        "COPY t TO '/tmp/t'",
        "SELECT * FROM t FOR NO KEY UPDATE OF t",
        "CREATE TEMP TABLE t AS SELECT * FROM u",
        "SELECT * INTO TEMP t FROM u",
    ],
)
def test_rows_that_the_text_contains_fill_nothing(sql):
    """Literal rows, results of functions and temporary tables are no fills of unknown contents."""
    assert changes_of_text(sql) == []


@pytest.mark.parametrize(
    ("sql", "declares"),
    [
        ("DO $$ BEGIN ALTER TABLE t ADD UNIQUE (a); END $$", True),
        ("DO $$ BEGIN EXECUTE 'DROP INDEX i'; END $$", False),
        ("ALTER TABLE t ADD CONSTRAINT c UNIQUE (a WITHOUT OVERLAPS)", True),
        ("ALTER TABLE t ADD UNIQUE (a, lower(b))", True),
        ("DROP SCHEMA s CASCADE", False),
        ("DO 'BEGIN ALTER TABLE t ADD UNIQUE (a); END'", True),
        ("SELECT run_command_on_shards('t', $$CREATE UNIQUE INDEX ON %s (a)$$)", True),
        ("CALL execute_ddl('ALTER TABLE t ADD CONSTRAINT c PRIMARY KEY (a)')", True),
        ("ALTER FOREIGN TABLE t ADD CONSTRAINT c UNIQUE (a)", True),
    ],
)
def test_what_cannot_be_read_is_unclear(sql, declares):
    """A statement that may create or drop uniqueness in an uncommon form is unclear, and says which of the two."""
    change = changes_of_text(sql)[-1]
    assert isinstance(change, Unclear)
    assert change.declares is declares


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE OR REPLACE FUNCTION s.f() RETURNS void LANGUAGE sql AS $f$ ALTER TABLE t ADD UNIQUE (a) $f$",
        "CREATE PROCEDURE f() LANGUAGE plpgsql AS 'BEGIN ALTER TABLE t ADD UNIQUE (a); END'",
    ],
)
def test_a_function_changes_nothing_until_it_is_called(sql):
    """What the body of a new function or procedure would change is kept for its calls."""
    (change,) = changes_of_text(sql)
    assert isinstance(change, NewRoutine)
    assert [True] == [each.declares for each in change.changes if isinstance(each, Unclear)]
