"""Preflight of keys with expressions and predicates: counts, samples, and expressions that fail for some rows."""

import json

import pytest

from dupe_audit.findings import CATALOGUE
from dupe_audit.model import CleanupRule, Expression, UniqueKey
from dupe_audit.preflight import blockers, preflight
from dupe_audit.render import preflight_json

EMAIL = UniqueKey(
    table="users", columns=(Expression("lower(email)"),), where="deleted_at IS NULL", name="ux", form="index"
)
NEWEST = CleanupRule(order_by=(Expression("last_login DESC NULLS LAST"), "id"))
USERS = """
CREATE TABLE users (id int PRIMARY KEY, email text, note text, last_login date, deleted_at date);
INSERT INTO users VALUES
    (1, 'Ann@x', 'a', '2024-01-01', NULL), (2, 'ann@X', 'b', '2026-01-01', NULL), (3, 'ANN@x', NULL, NULL, NULL),
    (4, 'bob@x', 'same', NULL, NULL), (5, 'bob@x', 'same', NULL, NULL),
    (6, 'ann@x', NULL, NULL, '2026-01-01'), (7, NULL, NULL, NULL, NULL)
"""
CODES = UniqueKey(table="t", columns=(Expression("code::int"),))


def expect_fails(report):
    """Return the findings about expressions that fail, as message texts."""
    return [each.message for each in report.findings if each.id == "expression-fails"]


def test_counts_are_about_the_rows_of_the_predicate(sql, conn):
    """The counts of a partial key say how many rows the predicate leaves out, and in which columns groups differ."""
    sql(USERS)
    report = preflight(conn, EMAIL)
    assert report.counts
    assert (7, 1, 1) == (report.counts.rows, report.counts.outside_rows, report.counts.null_key_rows)
    assert (2, 3, 1, 1) == (
        report.counts.groups,
        report.counts.extras,
        report.counts.exact_groups,
        report.counts.divergent_groups,
    )
    assert {"email": 1, "note": 1, "last_login": 1} == report.differs
    assert {"email": 1, "last_login": 1} == preflight(conn, EMAIL, CleanupRule(ignore=("note",))).differs


def test_samples_show_what_the_rule_would_do(sql, conn):
    """A sample names the row that survives by the rule and those that leave; exact groups only if none is divergent."""
    sql(USERS)
    samples = preflight(conn, EMAIL, NEWEST, samples=5).samples
    assert [(3, "2", ["1", "3"])] == [
        (sample.rows, sample.survivor.identity["id"], [row.identity["id"] for row in sample.extras])
        for sample in samples
    ]
    ignoring = CleanupRule(ignore=("email", "note", "last_login"), order_by=NEWEST.order_by)
    assert [3, 2] == [sample.rows for sample in preflight(conn, EMAIL, ignoring, samples=5).samples]
    assert 1 == len(preflight(conn, EMAIL, ignoring, samples=1).samples)
    survivor = preflight(conn, UniqueKey(table="users", columns=("note",)), CleanupRule(keep="last"), samples=1)
    assert {"id": "5"} == survivor.samples[0].survivor.identity


def test_samples_have_values_only_on_request(sql, conn):
    """Without show_keys a sample has identities alone; with it, the key and the values in which the rows differ."""
    sql(USERS)
    quiet = json.dumps(preflight_json(preflight(conn, EMAIL, NEWEST, samples=5)))
    assert "ann" not in quiet.lower()
    assert "2026-01" not in quiet
    report = preflight_json(preflight(conn, EMAIL, NEWEST, samples=5, show_keys=True))
    differs = ["email", "note", "last_login"]
    assert {
        "rows": 3,
        "key": "(ann@x)",
        "differs": differs,
        "survivor": {"identity": {"id": "2"}, "values": {"email": "ann@X", "note": "b", "last_login": "2026-01-01"}},
        "extras": [
            {
                "identity": {"id": "1"},
                "values": {"email": "Ann@x", "note": "a", "last_login": "2024-01-01"},
                "differs": differs,
            },
            {
                "identity": {"id": "3"},
                "values": {"email": "ANN@x", "note": None, "last_login": None},
                "differs": differs,
            },
        ],
    } == report["samples"][0]


@pytest.mark.parametrize("element", ["email", Expression("lower(email)"), Expression('lower("email")')])
def test_samples_print_no_primary_key_that_is_part_of_the_key(sql, conn, element):
    """A primary key with a column of the key would show key values, so ctid is printed unless they are asked for."""
    sql("CREATE TABLE accounts (tenant int, email text, PRIMARY KEY (tenant, email))")
    sql("INSERT INTO accounts VALUES (1, 'ann@x'), (2, 'ann@x')")
    key = UniqueKey(table="accounts", columns=(element,))
    sample = preflight(conn, key, samples=1).samples[0]
    assert [{"ctid": "(0,1)"}, {"ctid": "(0,2)"}] == [sample.survivor.identity, sample.extras[0].identity]
    sample = preflight(conn, key, samples=1, show_keys=True).samples[0]
    assert {"tenant": "1", "email": "ann@x"} == sample.survivor.identity


def test_samples_of_a_table_without_primary_key(sql, conn):
    """A row without a primary key is named by its place; a large group shows its survivor and ten rows."""
    sql('CREATE TABLE bag ("a b" int, "{c}" int); INSERT INTO bag SELECT 1, n FROM generate_series(1, 30) n')
    report = preflight(conn, UniqueKey(table="bag", columns=("a b",)), samples=3, show_keys=True)
    (sample,) = report.samples
    assert (30, 10, {"ctid": "(0,1)"}) == (sample.rows, len(sample.extras), sample.survivor.identity)
    assert {"{c}": "1"} == sample.survivor.values
    assert {"{c}": 1} == report.differs


BAD = """
CREATE TABLE t (id int PRIMARY KEY, code text, kept bool);
INSERT INTO t SELECT n, n % 3, true FROM generate_series(1, 9) n;
INSERT INTO t VALUES (20, 'secret-a', true), (21, 'secret-b', true), (22, 'secret-c', false)
"""


@pytest.mark.parametrize("where", [None, "kept"])
def test_rows_that_an_expression_cannot_be_computed_for_are_counted(sql, conn, where):
    """A cast of bad text is a finding with the number of rows of the predicate, and without any value of a row."""
    sql(BAD)
    key = UniqueKey(table="t", columns=(Expression("code::int"),), where=where)
    report = preflight(conn, key)
    rows = "2 rows" if where else "3 rows"
    message = (
        f"An expression cannot be computed for some rows of public.t: code::int fails for {rows} (SQLSTATE 22P02)."
    )
    assert [message] == expect_fails(report)
    assert report.counts is None
    assert report.failed_rows == ()
    assert "secret" not in json.dumps(preflight_json(report))
    assert [message] == [each.message for each in blockers(conn, key, CleanupRule())]
    assert not CATALOGUE["expression-fails"].acceptable


def test_failing_rows_are_shown_on_request(sql, conn):
    """With show_keys the report names rows that fail, by their primary key, with the server's message."""
    sql(BAD)
    rows = preflight(conn, CODES, show_keys=True).failed_rows
    assert [("20", "code::int"), ("21", "code::int"), ("22", "code::int")] == [
        (row.identity["id"], row.expression) for row in rows
    ]
    assert 'invalid input syntax for type integer: "secret-a"' == rows[0].message


def test_each_failing_expression_is_a_finding(sql, conn):
    """A function that raises, a predicate that divides by zero and an order that casts are reported apart."""
    sql("CREATE TABLE t (id int PRIMARY KEY, found int, code text)")
    sql("INSERT INTO t VALUES (1, 1, '1'), (2, 1, '1'), (3, 0, '1'), (4, 13, '1'), (5, 13, '1'), (6, 7, 'x')")
    sql(
        "CREATE FUNCTION luck(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
        "$$ BEGIN IF n = 13 THEN RAISE EXCEPTION 'no luck with %', n; END IF; RETURN n; END $$"
    )
    key = UniqueKey(table="t", columns=(Expression("luck(found)"),), where="10 / found >= 0")
    report = preflight(conn, key, CleanupRule(order_by=(Expression("code::int DESC"),)))
    lead = "An expression cannot be computed for some rows of public.t: "
    assert {
        f"{lead}10 / found >= 0 fails for 1 row (SQLSTATE 22012).",
        f"{lead}luck(found) fails for 2 rows (SQLSTATE P0001).",
        f"{lead}code::int fails for 1 row (SQLSTATE 22P02).",
    } == set(expect_fails(report))


def test_an_order_that_fails_is_found_before_anything_moves(sql, conn):
    """An order that cannot be computed is a finding of preflight and a blocker, although the key itself is sound."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, rank text); INSERT INTO t VALUES (1, 7, 'x'), (2, 7, '1')")
    rule = CleanupRule(order_by=(Expression("rank::int"),))
    key = UniqueKey(table="t", columns=("k",))
    assert 1 == len(expect_fails(preflight(conn, key, rule)))
    assert ["expression-fails"] == [each.id for each in blockers(conn, key, rule)]
    assert [] == expect_fails(preflight(conn, key, CleanupRule()))
