"""Where the rows of divergent groups differ, what looks like bookkeeping, and samples of groups side by side."""

import json
from dataclasses import replace

import psycopg
import pytest

from dupe_audit.cleanup import cleanup
from dupe_audit.errors import Refused
from dupe_audit.model import CleanupRule, Expression, Merge, UniqueKey
from dupe_audit.preflight import preflight
from dupe_audit.render import preflight_json

ORDERS = UniqueKey(table="orders", columns=("customer_id",))
ROWS = """
CREATE TABLE orders (
    id int PRIMARY KEY, customer_id int, status text, received_at timestamptz DEFAULT now(), version int,
    updated_at date
);
INSERT INTO orders SELECT n, n % 50, 'paid', '2026-01-01'::timestamptz + n * interval '1 s', 1, '2026-01-01'
FROM generate_series(1, 100) n;
UPDATE orders SET status = 'open' WHERE id > 98;
UPDATE orders SET version = 2 WHERE id > 90
"""


def test_columns_are_counted_and_bookkeeping_is_suggested(sql, conn):
    """Each column has the number of groups that differ in it, and the suggestion the number that it makes exact."""
    sql(ROWS)
    report = preflight(conn, ORDERS)
    assert {"received_at": 50, "version": 10, "status": 2} == report.differs
    assert ["received_at", "version", "status"] == list(report.differs)
    suggestion = report.suggestion
    assert suggestion
    assert {"received_at", "version"} == set(suggestion.columns)
    assert ("ignore=['received_at', 'version']", "--ignore received_at --ignore version", 48, 50) == (
        suggestion.directive,
        suggestion.options,
        suggestion.exact_groups,
        suggestion.divergent_groups,
    )
    counts = preflight(conn, ORDERS, CleanupRule(ignore=suggestion.ignore)).counts
    assert counts
    assert (48, 2) == (counts.exact_groups, counts.divergent_groups)
    again = preflight(conn, ORDERS, CleanupRule(ignore=("version",))).suggestion
    assert again
    assert ("ignore=['version', 'received_at']", 48) == (again.directive, again.exact_groups)


def test_nothing_is_suggested_that_makes_no_group_exact(sql, conn):
    """A time that differs only where data differs too is not suggested, and neither is a column of the key."""
    sql(ROWS)
    sql("UPDATE orders SET status = id::text")
    assert preflight(conn, ORDERS).suggestion is None
    sql("CREATE TABLE t (updated_at numeric, created_at date); INSERT INTO t VALUES (1.0, NULL), (1.00, NULL)")
    report = preflight(conn, UniqueKey(table="t", columns=("updated_at",)))
    assert ({"updated_at": 1}, None) == (report.differs, report.suggestion)


def test_refusals_name_table_key_rule_and_columns(sql, conn):
    """Preflight and the cleanup name the table, the key, the rule and the columns in which rows differ."""
    sql(ROWS)
    where = (
        "Rows of public.orders (customer_id) with the same key carry different data in {}; removing any of them could "
        "lose data. They differ in received_at (50 groups), version (10 groups), status (2 groups). "
        "The rule, keep='last', order_by=['version'], divergent='refuse', archives none of them."
    )
    rule = CleanupRule(keep="last", order_by=("version",))
    (error,) = (each for each in preflight(conn, ORDERS, rule).findings if each.severity == "error")
    assert where.format("50 of 50 groups") == error.message
    assert error.help.startswith(
        "With ignore=['received_at', 'version'] (--ignore received_at --ignore version), 48 of 50 divergent groups "
        "would be exact. Look at them side by side: dupe-audit preflight --schema public --table orders -c customer_id "
        "--keep last --order-by version --samples 5 --show-keys."
    )
    for way in ("merge=…", "divergent='archive'", "divergent='amend' and set_=…"):
        assert way in error.help
    with pytest.raises(Refused) as refused:
        list(cleanup(conn, ORDERS, rule))
    (staged,) = refused.value.findings
    assert (where.format("50 groups with 50 extras"), error.help) == (staged.message, staged.help)
    merged = replace(rule, merges=(Merge("version", "max"), Merge("received_at", "min(received_at)", is_sql=True)))
    (partly,) = (each for each in preflight(conn, ORDERS, merged).findings if each.severity == "error")
    assert partly.message.endswith(
        "They differ in status (2 groups). The rule, keep='last', order_by=['version'], divergent='refuse', "
        "merge={'version': 'max', 'received_at': sa.text('min(received_at)')}, archives none of them."
    )


TYPES = """
CREATE TABLE "T %s" (
    id int PRIMARY KEY, k int, gone int, j json, x jsonpath, p point, n numeric, f float8, "e" text, "v ""q"" %%" text,
    "{table}" int, big text, g int GENERATED ALWAYS AS (k + id) STORED, pair int[]
);
ALTER TABLE "T %s" DROP COLUMN gone;
INSERT INTO "T %s" (id, k, j, x, p, n, f, "e", "v ""q"" %%", "{table}", big, pair) VALUES
    (1, 1, '{"a":1}', '$.a', '(0,0)', 1.0, 'NaN', 'a', 'q', 1, repeat('x', 300000), '{1}'),
    (2, 1, '{"a": 1}', '$.b', '(0,1)', 1.00, 'NaN', '', 'r', 2, repeat('x', 299999) || 'y', '{NULL}'),
    (3, 2, '{}', '$.a', '(0,0)', 1, 'NaN', NULL, 'q', 1, repeat('x', 300000), NULL),
    (4, 2, '{}', '$.a', '(0,0)', 1, 'NaN', NULL, 'q', 1, repeat('x', 300000), NULL)
"""


def test_hard_types_and_names(sql, conn):
    """Types without equality, big values, dropped columns, aliases and quoted names are compared; generated are not."""
    sql(TYPES)
    key = UniqueKey(table="T %s", columns=("k",))
    report = preflight(conn, key, samples=2, show_keys=True)
    assert report.counts
    assert (1, 1) == (report.counts.exact_groups, report.counts.divergent_groups)
    names = ["j", "x", "p", "n", "e", 'v "q" %%', "{table}", "big", "pair"]
    assert dict.fromkeys(names, 1) == report.differs
    (divergent,) = report.samples
    assert (tuple(names), tuple(names)) == (divergent.differs, divergent.extras[0].differs)
    values = divergent.extras[0].values
    assert ("", "1.00", "{NULL}") == (values["e"], values["n"], values["pair"])
    assert "x" * 200 + "…" == values["big"] == divergent.survivor.values["big"]
    ignored = preflight(conn, key, CleanupRule(ignore=tuple(names)))
    assert ignored.counts
    assert (0, {}) == (ignored.counts.divergent_groups, ignored.differs)


def test_differences_of_expressions_parts_and_tables_without_primary_key(sql, conn):
    """Differences are also counted for a partial key over an expression of a table without a primary key."""
    sql("CREATE TABLE u (email text, deleted bool, seen int)")
    sql("INSERT INTO u VALUES ('A', false, 1), ('a', false, 1), ('b', false, 1), ('b', false, 2), ('B', true, 9)")
    key = UniqueKey(table="u", columns=(Expression("lower(email)"),), where="NOT deleted", form="index")
    report = preflight(conn, key, samples=5)
    assert {"email": 1, "seen": 1} == report.differs
    assert [("email",), ("seen",)] == [sample.differs for sample in report.samples]
    only = preflight(conn, UniqueKey(table="u", columns=("email", "deleted", "seen")), samples=1)
    assert ({}, None, ()) == (only.differs, only.suggestion, only.samples)


def test_samples_show_each_kind_of_divergent_group_first(sql, conn):
    """One group of each set of differing columns comes before a second of any, and exact groups are left out."""
    sql(ROWS)
    sql("INSERT INTO orders SELECT 100 + n, 99, 'paid', NULL, 1, NULL FROM generate_series(1, 9) n")
    kinds = [sample.differs for sample in preflight(conn, ORDERS, samples=99).samples]
    both, all_three = ("received_at", "version"), ("status", "received_at", "version")
    assert [("received_at",), both, all_three, ("received_at",)] == kinds[:4]
    assert 50 == len(kinds)
    assert () not in kinds
    everything = CleanupRule(ignore=("status", "received_at", "version"))
    assert [(9, ())] == [(each.rows, each.differs) for each in preflight(conn, ORDERS, everything, samples=1).samples]


def test_json_has_the_suggestion_and_marks_without_values(sql, conn):
    """JSON names the columns that differ and the suggestion; values appear only on request."""
    sql(ROWS)
    report = preflight_json(preflight(conn, ORDERS, samples=2))
    assert {
        "columns": {
            "received_at": "an insertion time, by its default",
            "version": "a row version, by its name",
        },
        "exact_groups": 48,
        "directive": "ignore=['received_at', 'version']",
        "options": "--ignore received_at --ignore version",
    } == report["suggestion"]
    assert "2026-" not in json.dumps(report)
    assert ["received_at"] == report["samples"][0]["extras"][0]["differs"]


def test_texts_that_a_collation_treats_as_equal_differ(sql, conn):
    """Spelling that the key does not compare is a difference of data, and so is XML, which has no equality."""
    try:
        sql("CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
        sql("SELECT '<a/>'::xml")
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("the server has no ICU or no XML")
    sql("CREATE TABLE t (id int PRIMARY KEY, k text COLLATE ci, n text COLLATE ci, x xml)")
    sql(
        "INSERT INTO t VALUES (1, 'A', 'a', '<a/>'), (2, 'a', 'A', '<a></a>'), (3, 'b', 'b', NULL), (4, 'b', 'b', NULL)"
    )
    report = preflight(conn, UniqueKey(table="t", columns=("k",)))
    assert report.counts
    assert (2, 1, {"k": 1, "n": 1, "x": 1}) == (report.counts.groups, report.counts.exact_groups, report.differs)
