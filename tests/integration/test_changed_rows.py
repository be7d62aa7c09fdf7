"""Extras that are amended, and survivors that take over values: the hard cases, on the way there and back."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, event
from sqlalchemy.sql import ClauseElement

from dupe_audit import ledger
from dupe_audit.cleanup import clean_held, cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.directives.outcome_arguments import changes
from dupe_audit.errors import DupeAuditError, Refused, WrongUsage
from dupe_audit.model import Batch, BuildRule, Change, CleanupRule, Expression, Merge, UniqueKey
from dupe_audit.postgres.session import transaction
from dupe_audit.preflight import blockers, judge, preflight
from dupe_audit.restore import restore
from dupe_audit.verify import verify

NAME = UniqueKey(table="t", columns=("name",))
K = UniqueKey(table="t", columns=("k",))


class Mood(Enum):
    """An enumeration as models have them."""

    HAPPY = "happy"


NUMBERED = {"name": "name || '-' || duplicate.number"}


def amend(new: dict[str, str] = NUMBERED, **rule: Any) -> CleanupRule:
    """Return a rule that changes every extra."""
    return CleanupRule(exact="amend", divergent="amend", changes=tuple(Change(*item) for item in new.items()), **rule)


def merge(ways: dict[str, str], **rule: Any) -> CleanupRule:
    """Return a rule whose survivors take over values; a way that begins with SQL is an aggregate."""
    merges = tuple(
        Merge(column, how.removeprefix("SQL "), is_sql=how.startswith("SQL ")) for column, how in ways.items()
    )
    return CleanupRule(merges=merges, **rule)


class Walk:
    """Cleans a table by a rule and restores it."""

    def __init__(self, conn: Connection, sql: Callable[[str], Any], dump: Callable[..., list[str]]) -> None:
        self.conn, self.sql, self.dump = conn, sql, dump

    def clean(self, key: UniqueKey, rule: CleanupRule) -> list[Batch]:
        """Clean the key."""
        return list(cleanup(self.conn, key, rule, give_up_after="2s"))

    def run(self, key: UniqueKey) -> Any:
        """Return the newest run of a key."""
        relid = self.sql(f"SELECT '{self.table(key)}'::regclass::oid")[0][0]
        latest = ledger.find_latest(self.conn, relid, key)
        assert latest
        return latest.run

    def back(self, key: UniqueKey) -> list[Batch]:
        """Restore the newest run of a key."""
        return list(restore(self.conn, self.run(key).id))

    @staticmethod
    def table(key: UniqueKey) -> str:
        """Return the key's table as SQL."""
        return f'"{key.table}"'

    def round(self, key: UniqueKey, rule: CleanupRule, query: str = "") -> list[tuple[Any, ...]]:
        """Clean, restore and clean; every row is the same after the restore; return what *query* reads."""
        query = query or f"SELECT * FROM {self.table(key)} ORDER BY 1"
        before = self.dump(key.table)
        assert [finding.message for finding in blockers(self.conn, key, rule)] == []
        self.clean(key, rule)
        after = self.sql(query)
        restored = self.back(key)
        assert self.dump(key.table) == before
        run = self.run(key)
        assert (run.remaining, run.state) == (0, "restored")
        assert sum(batch.restored for batch in restored) == run.restored == run.archived
        assert sum(batch.reverted for batch in restored) == run.reverted == run.amended + run.merged
        self.clean(key, rule)
        assert self.sql(query) == after
        self.back(key)
        assert self.dump(key.table) == before
        return after

    def refused(self, key: UniqueKey, rule: CleanupRule) -> list[str]:
        """Return why a cleanup is refused, after a check that no row was changed."""
        before = self.dump(key.table)
        with pytest.raises(Refused) as refusal:
            self.clean(key, rule)
        assert self.dump(key.table) == before
        assert self.sql("SELECT count(*) FROM dupe_audit.batch") == [(0,)]
        return [f"{finding.id}: {finding.message}" for finding in refusal.value.findings]

    def refused_later(self, key: UniqueKey, rule: CleanupRule) -> list[str]:
        """Return why a cleanup is refused that is not the first, after a check that it changed no row."""
        before = self.dump(key.table)
        with pytest.raises(Refused) as refusal:
            self.clean(key, rule)
        assert self.dump(key.table) == before
        return [f"{finding.id}: {finding.message}" for finding in refusal.value.findings]

    def blocked(self, key: UniqueKey, rule: CleanupRule) -> list[str]:
        """Return what preflight says against a rule."""
        return [f"{finding.id}: {finding.message}" for finding in blockers(self.conn, key, rule)]


@pytest.fixture
def walk(conn, sql, dump) -> Walk:
    """Cleans and restores in the test's database."""
    return Walk(conn, sql, dump)


# --- what can be amended ------------------------------------------------------------------------------------------


def test_new_value_taken_in_another_unique_index(walk, sql):
    """A new value that another row has in another unique index is refused before the first batch, with the count."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, slug text UNIQUE);
        INSERT INTO t VALUES (1, 'a', 'x'), (2, 'a', 'y'), (3, 'a', 'z'), (4, 'b', 'y-2')""")
    assert walk.refused(NAME, amend({**NUMBERED, "slug": "slug || '-' || duplicate.number"})) == [
        (
            "change-fails: Rows of public.t cannot be changed as set_ or merge says: "
            "1 extra: the new row violates unique index t_slug_key."
        )
    ]
    sql("DELETE FROM t WHERE id = 4")
    assert walk.round(NAME, amend({**NUMBERED, "slug": "slug || '-' || duplicate.number"})) == [
        (1, "a", "x"), (2, "a-2", "y-2"), (3, "a-3", "z-3")
    ]  # fmt: skip


def test_new_value_equal_among_the_extras_themselves(walk, sql):
    """Two extras that would get one value of another unique index are refused, and NULL is not such a value."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, slug text, live bool DEFAULT true);
        CREATE UNIQUE INDEX ux ON t (lower(slug)) WHERE live;
        INSERT INTO t VALUES (1, 'a', 'x'), (2, 'a', 'y'), (3, 'a', 'z')""")
    assert walk.refused(NAME, amend({**NUMBERED, "slug": "'Q'"})) == [
        (
            "change-fails: Rows of public.t cannot be changed as set_ or merge says: "
            "2 extras: the new row violates unique index ux."
        )
    ]
    assert walk.round(NAME, amend({**NUMBERED, "slug": "NULL"}), "SELECT name, slug FROM t ORDER BY id") == [
        ("a", "x"), ("a-2", None), ("a-3", None)
    ]  # fmt: skip
    assert walk.round(NAME, amend({**NUMBERED, "slug": "'Q'", "live": "false"}), "SELECT name FROM t ORDER BY id") == [
        ("a",), ("a-2",), ("a-3",)
    ]  # fmt: skip


@pytest.mark.min_pg(15)
def test_other_unique_index_with_equal_nulls(walk, sql):
    """Where another unique index treats NULLs as equal, two extras that are set to NULL are refused."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, slug text UNIQUE NULLS NOT DISTINCT);
        INSERT INTO t VALUES (1, 'a', 'x'), (2, 'a', 'y'), (3, 'a', 'z')""")
    assert (
        "2 extras: the new row violates unique index t_slug_key"
        in walk.refused(NAME, amend({**NUMBERED, "slug": "NULL"}))[0]
    )


def test_other_unique_index_keeps_a_value_that_the_row_has_already(walk, sql):
    """An amendment that leaves the row's entry in another unique index as it is collides with nothing."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, slug text, UNIQUE (slug, name));
        CREATE UNIQUE INDEX ON t (id, name); CREATE UNIQUE INDEX ON t (upper(slug));
        INSERT INTO t VALUES (1, 'a', 'x'), (2, 'a', 'y'), (3, 'b', 'z')""")
    assert walk.round(NAME, amend({**NUMBERED, "slug": "slug"}))[1] == (2, "a-2", "y")


def test_foreign_key_of_the_amended_column(walk, sql):
    """A new value that the referenced table lacks is refused before the first batch; one that it has is written."""
    sql("""CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p VALUES (1), (9);
        CREATE TABLE t (id int PRIMARY KEY, k int REFERENCES p);
        INSERT INTO t VALUES (1, 1), (2, 1), (3, 1)""")
    assert walk.refused(K, amend({"k": "CASE id WHEN 2 THEN 7 ELSE 8 END"})) == [
        (
            "change-fails: Rows of public.t cannot be changed as set_ or merge says: "
            "2 extras: the new row violates foreign key t_k_fkey."
        )
    ]
    assert walk.round(K, amend({"k": "CASE id WHEN 2 THEN 9 END"})) == [(1, 1), (2, 9), (3, None)]


def test_foreign_key_that_is_checked_at_commit(walk, sql):
    """A deferred foreign key is tried as well, and a row of the table itself can be the one that is referenced."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, k int REFERENCES t DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO t VALUES (1, 1), (2, 1), (3, 2)""")
    assert "1 extra: the new row violates foreign key t_k_fkey" in walk.refused(K, amend({"k": "100"}))[0]
    assert walk.round(K, amend({"k": "id + 1"})) == [(1, 1), (2, 3), (3, 2)]


def test_foreign_key_that_loses_its_parent_between_trial_and_batch(walk, sql, conn):
    """A value that stops being allowed after the trial ends the run with the reason, and not as a locked row."""
    sql("""CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p SELECT generate_series(1, 20);
        CREATE TABLE t (id int PRIMARY KEY, k int REFERENCES p);
        INSERT INTO t SELECT n, 1 FROM generate_series(1, 20) n""")
    batches = cleanup(conn, K, amend({"k": "id"}, batch_size=2), give_up_after="2s")
    next(batches)
    sql("ALTER TABLE t DROP CONSTRAINT t_k_fkey; DELETE FROM p WHERE id = 19")
    sql("ALTER TABLE t ADD CONSTRAINT t_k_fkey FOREIGN KEY (k) REFERENCES p NOT VALID")
    with pytest.raises(Refused, match="1 row: constraint t_k_fkey forbids the new row"):
        list(batches)
    assert walk.run(K).state == "failed"
    sql("INSERT INTO p VALUES (19)")
    walk.back(K)
    assert sql("SELECT DISTINCT k FROM t") == [(1,)]


def test_columns_that_cannot_be_changed(walk, sql):
    """Preflight names each column that cannot be changed: generated, identity, of the primary key, referenced."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, u int UNIQUE, n int GENERATED ALWAYS AS IDENTITY,
                           low text GENERATED ALWAYS AS (lower(name)) STORED);
        CREATE TABLE c (u int REFERENCES t (u))""")
    changes = {"id": "9", "u": "9", "n": "9", "low": "''"}
    assert [text.split("merge names: ")[1] for text in walk.blocked(NAME, amend(changes))] == [
        "id is in the primary key, by which the row is found again.",
        "low is a generated column.",
        "n is GENERATED ALWAYS AS IDENTITY.",
        "u is referenced by foreign key c_u_fkey of c.",
    ]


def test_no_primary_key(walk, sql):
    """Without a primary key, by which a changed row could be found again, amending and merging are refused."""
    sql("CREATE TABLE t (name text, n int); INSERT INTO t VALUES ('a', 1), ('a', 2)")
    for rule in (amend(), merge({"n": "sum"})):
        assert walk.blocked(NAME, rule) == [
            (
                "column-not-changeable: A cleanup of public.t cannot change a column that set_ or merge names: "
                "the table has no primary key, by which a changed row could be found again."
            )
        ]


def test_key_over_a_column_generated_from_the_amended_one(walk, sql):
    """A key over a generated column is left by amending the column that it is generated from."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, mail text, name text GENERATED ALWAYS AS (lower(mail)) STORED);
        INSERT INTO t VALUES (1, 'A'), (2, 'a'), (3, 'b')""")
    assert walk.round(NAME, amend({"mail": "mail || id"})) == [(1, "A", "a"), (2, "a2", "a2"), (3, "b", "b")]


def test_predicate_and_expression(walk, sql):
    """An extra leaves a key of expressions by a predicate that is no longer true for it."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, gone timestamptz);
        INSERT INTO t VALUES (1, 'A', NULL), (2, 'a', NULL), (3, 'a', '2020-01-01'), (4, 'b', NULL)""")
    key = UniqueKey(table="t", columns=(Expression("lower(name)"),), where="gone IS NULL")
    query = "SELECT id, gone IS NULL FROM t ORDER BY 1"
    assert walk.round(key, amend({"gone": "'2021-01-01'"}), "SELECT id, gone IS NULL FROM t ORDER BY 1") == [
        (1, True), (2, False), (3, False), (4, True)
    ]  # fmt: skip
    assert walk.round(key, amend({"gone": "'2021-01-01'"}, keep="last"), query) == [
        (1, False), (2, True), (3, False), (4, True)
    ]  # fmt: skip


@pytest.mark.parametrize("changes", [{"other": "'x'"}, {"name": "name"}, {"name": "upper(survivor.name)"}])
@pytest.mark.representatives("changes1")
def test_amendment_that_leaves_an_extra(walk, sql, changes):
    """An amendment that leaves the key as it is is refused before the first batch."""
    sql("CREATE TABLE t (id int PRIMARY KEY, name text, other text); INSERT INTO t VALUES (1, 'A'), (2, 'A'), (3, 'A')")
    assert walk.refused(NAME, amend(changes)) == [
        "amendment-incomplete: After amendment, 2 extras of public.t would still have the key of another row."
    ]


@pytest.mark.parametrize("value", ["'dup'", "left(name, 1) || '*'", "CASE WHEN id < 9 THEN 'dup' END"])
@pytest.mark.representatives("left(name*", "CASE*")
def test_one_new_value_for_all_extras(walk, sql, value):
    """Extras that would be duplicates of one another in every pass are refused before the first batch."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text);
        INSERT INTO t VALUES (1, 'ab'), (2, 'ab'), (3, 'ab'), (4, 'b')""")
    assert walk.refused(NAME, amend({"name": value})) == [
        "amendment-incomplete: After amendment, 1 extra of public.t would still have the key of another row."
    ]


@pytest.mark.min_pg(15)
def test_null_in_a_key_with_equal_nulls(walk, sql):
    """NULL does not take two extras out of a key that treats NULLs as equal: it is refused before the first batch."""
    sql("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a'), (2, 'a'), (3, 'a')")
    key = UniqueKey(table="t", columns=("name",), nulls_not_distinct=True)
    assert "amendment-incomplete" in walk.refused(key, amend({"name": "NULL"}))[0]
    sql("DELETE FROM t WHERE id = 3")
    assert walk.round(key, amend({"name": "NULL"})) == [(1, "a"), (2, None)]
    sql("INSERT INTO t VALUES (7, NULL)")
    assert "amendment-incomplete" in walk.refused_later(key, amend({"name": "NULL"}))[0]


def test_names_that_third_rows_have(walk, sql):
    """Names that other rows have, and those have in turn, are passed over; every row that was no extra stays."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text);
        INSERT INTO t VALUES (1, 'ann'), (2, 'ann'), (3, 'ann'), (4, 'ann-2'), (5, 'ann-2-2'),
                             (6, 'ann-3'), (7, 'ann-2')""")
    assert walk.round(NAME, amend()) == [
        (1, "ann"), (2, "ann-2-3"), (3, "ann-3-2"), (4, "ann-2"), (5, "ann-2-2"), (6, "ann-3"), (7, "ann-2-2-2")
    ]  # fmt: skip


def test_suffix_for_more_rows_than_passes(walk, sql):
    """A suffix that is the same for all is refused if a group has more rows than there are passes."""
    sql("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t SELECT n, 'a' FROM generate_series(1, 40) n")
    assert "amendment-incomplete" in walk.refused(NAME, amend({"name": "name || '-dup'"}))[0]
    sql("DELETE FROM t WHERE id > 4")
    assert walk.round(NAME, amend({"name": "name || '-dup'"}))[-1] == (4, "a-dup-dup-dup")


@pytest.mark.parametrize(
    ("type_", "problem"),
    [
        ("varchar(3)", "the value is too long for the column"),
        ("short", "the value is too long for the column"),
        ("char(3)", "the value is too long for the column"),
        ("text CHECK (length(name) < 4)", "constraint t_name_check forbids the new row"),
        ("small", "constraint small_check forbids the new row"),
    ],
)
@pytest.mark.representatives("varchar(3)*", "text CHECK*")
def test_suffix_that_is_too_long(walk, sql, type_, problem):
    """A value that does not fit is counted before the first batch, and never cut."""
    sql(f"""CREATE DOMAIN short AS varchar(3); CREATE DOMAIN small AS text CHECK (length(VALUE) < 4);
        CREATE TABLE t (id int PRIMARY KEY, name {type_});
        INSERT INTO t VALUES (1, 'abc'), (2, 'abc'), (3, 'a'), (4, 'a'), (5, 'abd'), (6, 'abd')""")
    assert walk.refused(NAME, amend()) == [
        f"change-fails: Rows of public.t cannot be changed as set_ or merge says: 2 extras: {problem}."
    ]
    assert walk.round(NAME, amend({"name": "left(name, 1) || duplicate.number || left(name, 0) || substr(name, 3)"}))


def test_renumber_within_a_parent(walk, sql):
    """Extras move behind the last position of their parent, also if several groups of one parent do so at once."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, parent int, place int NOT NULL);
        INSERT INTO t VALUES (1, 1, 1), (2, 1, 1), (3, 1, 2), (4, 1, 2), (5, 1, 2), (6, 2, 1), (7, 2, 1)""")
    key = UniqueKey(table="t", columns=("parent", "place"))
    last = "(SELECT max(other.place) FROM t other WHERE other.parent = t.parent) + duplicate.number - 1"
    after = walk.round(key, amend({"place": last}))
    assert after[0] == (1, 1, 1)
    assert (after[2], after[5], after[6]) == ((3, 1, 2), (6, 2, 1), (7, 2, 2))
    assert sorted(row[2] for row in after[:5]) == [1, 2, 3, 4, 6] or len({row[2] for row in after[:5]}) == 5


def test_null_out(walk, sql):
    """NULL takes an extra out of a key; where the column is NOT NULL it is refused before the first batch."""
    sql("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a'), (2, 'a'), (3, 'a')")
    assert walk.round(NAME, amend({"name": "NULL"})) == [(1, "a"), (2, None), (3, None)]
    sql("ALTER TABLE t ALTER name SET NOT NULL")
    with pytest.raises(Refused, match="2 extras: column name must not be NULL"):
        walk.clean(NAME, amend({"name": "NULL"}))


@pytest.mark.parametrize(
    "table", ["survivor", "duplicate", "changes", "e", "v", "s", "j", "t", "member", 'Üser "x"', "a.b"]
)
@pytest.mark.representatives("survivor")
def test_names_of_our_own(walk, sql, table):
    """Tables and columns can have any name that our statements use, and the survivor's columns stay within reach."""
    columns = ["n", "x1", "b1", "k1", "tid", "place", "number", "survivor", "duplicate", "changes", "value", "e", "v",
               "t", "j", "s", "member", "merged",
               "still_extra", "Mixed Case", "key", "count", "first_id", 'a"b']  # fmt: skip
    quoted = ", ".join('"{}" int DEFAULT 1'.format(name.replace('"', '""')) for name in columns)
    name = table.replace('"', '""')
    sql(f"""CREATE TABLE "{name}" (id int PRIMARY KEY, name text, {quoted});
        INSERT INTO "{name}" (id, name, n) VALUES (1, 'a', 5), (2, 'a', 6), (3, 'b', 7)""")
    key = UniqueKey(table=table, columns=("name",))
    before = sql(f'SELECT t::text FROM "{name}" t ORDER BY id')
    changes = {"name": "name || '-' || duplicate.number || survivor.n", "Mixed Case": "survivor.n + n", 'a"b': "3"}
    for rule, expected in (
        (amend(changes), [(1, "a", 5, 1), (2, "a-25", 6, 11), (3, "b", 7, 1)]),
        (merge({"n": "sum", "Mixed Case": "SQL max(n)", "value": "coalesce", "x1": "min", "tid": "max"}),
         [(1, "a", 11, 6), (3, "b", 7, 1)]),
    ):  # fmt: skip
        assert [finding.message for finding in blockers(walk.conn, key, rule)] == []
        walk.clean(key, rule)
        assert sql(f'SELECT id, name, n, "Mixed Case" FROM "{name}" ORDER BY id') == expected
        list(restore(walk.conn, sql("SELECT max(id) FROM dupe_audit.run")[0][0]))
        assert sql(f'SELECT t::text FROM "{name}" t ORDER BY id') == before


def test_signs_in_new_values(walk, sql):
    """Percent signs, colons, braces, backslashes and quotes of a new value arrive as they are."""
    sql("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a'), (2, 'a')")
    assert walk.round(NAME, amend({"name": r"'%s %% {table} : :x \n ''' || id::text || E'\\'"})) == [
        (1, "a"), (2, r"%s %% {table} : :x \n '2" + "\\")
    ]  # fmt: skip


def test_volatile_values_and_subqueries(walk, sql):
    """A new value can be random or come from another table, and a table can be named as a part of our statements."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a'), (2, 'a');
        CREATE TABLE judged (x text); INSERT INTO judged VALUES ('q'); CREATE TABLE member (x int);
            INSERT INTO member VALUES (3)""")
    before = walk.dump("t")
    walk.clean(NAME, amend({"name": "gen_random_uuid()::text || (SELECT x FROM judged)"}))
    assert sql("SELECT name LIKE '%-%-%q' FROM t WHERE id = 2") == [(True,)]
    walk.back(NAME)
    assert walk.dump("t") == before
    sql("ALTER TABLE t ADD n int DEFAULT 1")
    assert walk.round(NAME, merge({"n": "SQL sum(n) + (SELECT x FROM member)"})) == [(1, "a", 5)]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("name || duplicate.numbr", "column duplicate.numbr does not exist"),
        ("survivor.nam", "column survivor.nam does not exist"),
    ],
)
def test_misspelled_column_of_a_new_value(walk, sql, value, reason):
    """A misspelled column in set_ is named, and the help lists what a new value can use."""
    sql("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a'), (2, 'a')")
    (objection,) = blockers(walk.conn, NAME, amend({"name": value}))
    assert (objection.id, reason in objection.message) == ("expression-invalid", True), objection.message
    assert "may also use survivor.column and duplicate.number" in objection.help


def test_value_of_several_rows(walk, sql):
    """An expression that returns several rows per extra is refused by preflight."""
    sql("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a'), (2, 'a')")
    assert walk.blocked(NAME, amend({"name": "unnest(ARRAY['x', 'y'])"}))[0].startswith("expression-invalid")


# --- merging ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "how", "values", "expected"),
    [
        ("int", "sum", ["1", "2", "NULL"], "3"),
        ("int", "sum", ["NULL", "NULL"], None),
        ("numeric", "sum", ["1.50", "'NaN'"], "NaN"),
        ("numeric", "max", ["1.50", "'NaN'"], "NaN"),
        ("numeric(6,2)", "sum", ["1.50", "2.25"], "3.75"),
        ("float8", "sum", ["'Infinity'", "1"], "Infinity"),
        ("money", "sum", ["1", "2"], "$3.00"),
        ("interval", "sum", ["'1 day'", "'2 hours'"], "1 day 02:00:00"),
        ("timestamptz", "min", ["'2024-01-02Z'", "'2024-01-01Z'"], "2024-01-01 00:00:00+00"),
        ("date", "max", ["NULL", "'2024-01-01'"], "2024-01-01"),
        ("varchar(5)", "max", ["'a'", "'b'"], "b"),
        ("char(5)", "max", ["'a'", "'b'"], "b"),
        ("char(5)", "coalesce", ["NULL", "'b'"], "b"),
        ("bit(3)", "coalesce", ["NULL", "B'101'"], "101"),
        ("mood", "max", ["'sad'", "'happy'"], "happy"),
        ("positive", "sum", ["1", "2"], "3"),
        ("short", "max", ["'abc'", "'abd'"], "abd"),
        ("bool", "bool_or", ["false", "NULL", "true"], "true"),
        ("bool", "bool_and", ["true", "NULL"], "true"),
        ("uuid", "coalesce", ["NULL", "'00000000-0000-0000-0000-000000000001'"], f"{UUID(int=1)}"),
        ("int[]", "max", ["ARRAY[1,NULL]", "ARRAY[1,2]"], "{1,NULL}"),
        ("int[]", "coalesce", ["NULL", "ARRAY[NULL,2]"], "{NULL,2}"),
        ("json", "coalesce", ["NULL", """'{"a":1,  "a":2}'"""], '{"a":1,  "a":2}'),
        ("pair", "coalesce", ["NULL", "ROW(NULL,2)"], "(,2)"),
        ("pair", "coalesce", ["ROW(NULL,NULL)", "ROW(1,2)"], "(,)"),
        ("jsonb", "jsonb_merge", ["""'{"a":1}'""", """'{"a":2,"b":3}'"""], '{"a": 1, "b": 3}'),
        ("jsonb", "jsonb_merge", ["""'{"a":null}'""", """'{"a":2}'""", "NULL"], '{"a": null}'),
        ("jsonb", "jsonb_merge", ["'{}'", "NULL"], "{}"),
        ("jsonb", "jsonb_merge", ["NULL", "'{}'", """'{"x":1}'"""], '{"x": 1}'),
        ("jsonb", "jsonb_merge", ["'null'", """'{"x":1}'"""], '{"x": 1}'),
        ("jsonb", "jsonb_merge", ["'null'", "'null'"], "null"),
        ("jsonb", "jsonb_merge", ["NULL", "NULL"], None),
        ("text", "SQL string_agg(v, ', ' ORDER BY id DESC)", ["'a'", "'b'"], "b, a"),
        ("jsonb", "SQL jsonb_agg(to_jsonb(t) ORDER BY id)", ["NULL", "NULL"],
         '[{"k": 1, "v": null, "id": 1}, {"k": 1, "v": null, "id": 2}]'),
        ("int", "SQL count(*)::int", ["7", "8", "NULL"], "3"),
        ("_text", "SQL array_agg(id::text ORDER BY id)", ["NULL", "NULL"], "{1,2}"),
    ],
)  # fmt: skip
@pytest.mark.representatives("int-sum-values0*", "numeric-max*", "pair-coalesce-values24*")
def test_merge_of_every_type(walk, sql, type_, how, values, expected):
    """Each way to merge works for each type that it makes sense for, and the restore undoes it."""
    rows = ", ".join(f"({n}, 1, {value})" for n, value in enumerate(values, 1))
    sql(f"""SET timezone = 'UTC'; CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TYPE pair AS (a int, b int);
        CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN short AS varchar(3);
        CREATE TABLE t (id int PRIMARY KEY, k int, v {type_}); INSERT INTO t VALUES {rows}, (9, 2, NULL)""")
    assert walk.round(K, merge({"v": how}), "SELECT id, v::text FROM t ORDER BY id") == [(1, expected), (9, None)]


@pytest.mark.parametrize(
    ("type_", "how", "values", "problem"),
    [
        ("int", "sum", ["2000000000", "2000000000"], "1 group: the number is out of range"),
        ("smallint", "sum", ["32767", "1"], "1 group: the number is out of range"),
        ("numeric(3,1)", "sum", ["99.9", "99.9"], "1 group: the number is out of range"),
        ("positive", "sum", ["3", "4"], "1 group: constraint positive_check forbids the new row"),
        ("int CHECK (v < 5)", "sum", ["3", "4"], "1 group: constraint t_v_check forbids the new row"),
        ("short", "SQL string_agg(v, '')", ["'ab'", "'cd'"], "1 group: the value is too long for the column"),
        ("jsonb", "jsonb_merge", ["'{}'", "'[1]'"],
         "1 group: a value has the wrong form, such as a JSON array instead of an object"),
        ("jsonb", "jsonb_merge", ["'3'", "NULL"],
         "1 group: a value has the wrong form, such as a JSON array instead of an object"),
        ("int NOT NULL", "SQL nullif(sum(v), 7)", ["3", "4"], "1 group: column v must not be NULL"),
    ],
)  # fmt: skip
@pytest.mark.representatives("int-sum*", "positive-sum*", "jsonb-jsonb_merge-values6*", "int NOT NULL*")
def test_merge_that_fails(walk, sql, type_, how, values, problem):
    """A merged value that the column cannot have is found before the first batch, and only failing groups count."""
    rows = ", ".join(f"({n}, 1, {value})" for n, value in enumerate(values, 1))
    sql(f"""CREATE DOMAIN positive AS int CHECK (VALUE < 5); CREATE DOMAIN short AS varchar(3);
        CREATE TABLE t (id int PRIMARY KEY, k int, v {type_}); INSERT INTO t VALUES {rows}, (9, 2, {values[0]})""")
    assert walk.refused(K, merge({"v": how})) == [
        f"change-fails: Rows of public.t cannot be changed as set_ or merge says: {problem}."
    ]


@pytest.mark.parametrize(
    ("type_", "how"),
    [("bool", "min"), ("jsonb", "max"), ("json", "jsonb_merge"), ("text", "sum"), ("int", "bool_or"),
     ("text", "SQL v"), ("text", "SQL no_such(v)"), ("json", "min")],
)  # fmt: skip
@pytest.mark.representatives("bool-min", "text-sum", "text-SQL v", "text-SQL no_such(v)")
def test_merge_that_no_type_allows(walk, sql, type_, how):
    """A way to merge that the column's type does not have is refused by preflight."""
    sql(f"CREATE TABLE t (id int PRIMARY KEY, k int, v {type_})")
    assert [text.split(":")[0] for text in walk.blocked(K, merge({"v": how}))] == ["expression-invalid"]


def test_merge_that_changes_the_key(walk, sql):
    """A merge after which a survivor leaves the predicate, or has another key, is refused before the first batch."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, k int, v int);
        INSERT INTO t VALUES (1, 1, 3), (2, 1, 3), (3, 2, 9), (4, 2, 9), (5, 6, 1)""")
    message = (
        "column-not-changeable: A cleanup of public.t cannot change a column that set_ or merge names: "
        "the merge changes the key of"
    )
    key = UniqueKey(table="t", columns=("k",), where="v < 10")
    assert walk.refused(key, merge({"v": "sum"})) == [f"{message} 1 survivor."]
    key = UniqueKey(table="t", columns=(Expression("k + v"),))
    assert walk.refused(key, merge({"v": "sum"}))[0].startswith(message)


def test_merge_into_another_unique_index(walk, sql):
    """A survivor takes over a unique value from its own extra; one that a third row has is refused."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, k int, mail text UNIQUE, n int UNIQUE);
        INSERT INTO t VALUES (1, 1, NULL, 1), (2, 1, 'x', 2), (3, 1, 'y', 7), (4, 2, 'z', 3)""")
    assert walk.round(K, merge({"mail": "coalesce", "n": "max"})) == [(1, 1, "x", 7), (4, 2, "z", 3)]
    assert (
        "1 survivor: the new row violates unique index t_n_key"
        in walk.refused_later(K, merge({"mail": "coalesce", "n": "SQL 3"}))[0]
    )


@pytest.mark.thorough
def test_merge_over_several_batches(walk, sql):
    """A group that needs several batches is merged once, and a restore in small batches undoes all of them."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, k int, v int, w text, j jsonb);
        INSERT INTO t SELECT n, n % 3, n, nullif(n % 7, 1)::text, jsonb_build_object(n % 5, n)
        FROM generate_series(0, 299) n""")
    before = walk.dump("t")
    ways = {"v": "sum", "w": "coalesce", "j": "jsonb_merge"}
    expected = sql("SELECT k, sum(v)::int FROM t GROUP BY 1 ORDER BY 1")
    walk.clean(K, merge(ways, batch_size=7))
    assert sql("SELECT k, v FROM t ORDER BY 1") == expected
    assert sql("SELECT j FROM t WHERE k = 1") == [({"1": 1, "4": 4, "2": 7, "0": 10, "3": 13},)]
    list(restore(walk.conn, 1, batch_size=5))
    assert walk.dump("t") == before
    walk.clean(
        K, merge({"w": "SQL string_agg(w, '' ORDER BY id)", "v": "SQL count(*)::int", "j": "coalesce"}, batch_size=7)
    )
    assert sql("SELECT v FROM t") == [(100,)] * 3


# --- triggers -----------------------------------------------------------------------------------------------------

STAMP = """CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN NEW.at = clock_timestamp(); NEW.version = OLD.version + 1; RETURN NEW; END $$;
    CREATE TRIGGER stamp BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION stamp()"""


def test_trigger_that_stamps(walk, sql):
    """A trigger that stamps each change does not keep a row that was changed several times from its way back."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, n int DEFAULT 1, at timestamptz, version int DEFAULT 0);
        INSERT INTO t (id, name) VALUES (1, 'a'), (2, 'a'), (3, 'a'), (4, 'a-2'), (5, 'a'), (6, 'a')""")
    sql(STAMP)
    query = "SELECT id, name, n FROM t ORDER BY id"
    before = sql(query)
    assert [text.split(":")[0] for text in walk.blocked(NAME, amend())] == ["update-trigger"]
    walk.clean(NAME, amend(batch_size=1))
    assert sql(query) != before
    walk.back(NAME)
    assert sql(query) == before
    walk.clean(NAME, merge({"n": "sum"}, batch_size=1, ignore=("at", "version")))
    assert sql(query) == [(1, "a", 5), (4, "a-2", 1)]
    walk.back(NAME)
    assert sql(query) == before


def test_trigger_that_keeps_rows_as_they_are(walk, sql):
    """A trigger that suppresses updates ends the cleanup, and nothing is lost."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, n int); INSERT INTO t VALUES (1, 'a', 1), (2, 'a', 1);
        CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER no BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION no()""")
    before = walk.dump("t")
    for rule in (amend(), merge({"n": "sum"})):
        with pytest.raises(
            DupeAuditError, match="A trigger on the table suppresses updates: see finding update-trigger"
        ):
            walk.clean(NAME, rule)
        assert walk.dump("t") == before


def test_trigger_that_undoes_the_amendment(walk, sql):
    """A trigger that makes an amended row an extra again ends the batch before it is committed."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a'), (2, 'a');
        CREATE FUNCTION old() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.name = OLD.name; RETURN NEW; END';
        CREATE TRIGGER old BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION old()""")
    with pytest.raises(Refused, match=r"After amendment, 1 extra of public\.t would still have the key of another row"):
        walk.clean(NAME, amend())
    assert walk.run(NAME).amended == 0


def test_trigger_that_raises(walk, sql):
    """A trigger that refuses a row ends the cleanup with its class of error, and without its text."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a'), (2, 'a');
        CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''secret %'', NEW.name; END';
        CREATE TRIGGER no BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION no()""")
    with pytest.raises(Refused, match=r"1 row: a trigger or a function rejects it \(SQLSTATE P0001\)") as refusal:
        walk.clean(NAME, amend())
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("action", ["CASCADE", "NO ACTION"])
@pytest.mark.representatives("CASCADE")
def test_soft_delete_that_cascades_by_trigger(walk, sql, action):
    """Children that an accepted trigger soft-deletes follow their parent back, whatever their foreign key does."""
    sql(f"""CREATE TABLE t (id int PRIMARY KEY, name text, gone bool NOT NULL DEFAULT false,
                        up int REFERENCES t ON DELETE {action});
        CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t ON DELETE {action}, gone bool NOT NULL DEFAULT false);
        INSERT INTO t VALUES (1, 'a'), (2, 'a'); UPDATE t SET up = 2; INSERT INTO c VALUES (1, 1), (2, 2);
        CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN UPDATE c SET gone = NEW.gone WHERE t_id = NEW.id; RETURN NULL; END';
        CREATE TRIGGER follow AFTER UPDATE OF gone ON t FOR EACH ROW EXECUTE FUNCTION follow()""")
    key = UniqueKey(table="t", columns=("name",), where="NOT gone")
    walk.clean(key, amend({"gone": "true"}))
    assert sql("SELECT t.id, t.gone, c.gone FROM t JOIN c ON t_id = t.id ORDER BY 1") == [
        (1, False, False),
        (2, True, True),
    ]
    walk.back(key)
    assert sql("SELECT t.id, t.gone, c.gone FROM t JOIN c ON t_id = t.id ORDER BY 1") == [
        (1, False, False),
        (2, False, False),
    ]


# --- the way back -------------------------------------------------------------------------------------------------


def test_rows_changed_deleted_or_renamed_since(walk, sql):
    """A row that the application has changed, deleted or given another primary key since is reported and kept."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, n int);
        INSERT INTO t SELECT n, 'a', n FROM generate_series(1, 6) n""")
    walk.clean(NAME, amend())
    sql("""UPDATE t SET n = 0 WHERE id = 2;
        DELETE FROM t WHERE id = 3;
        UPDATE t SET id = 40 WHERE id = 4;
        UPDATE t SET n = n WHERE id = 5""")
    with pytest.raises(Refused) as refusal:
        walk.back(NAME)
    assert [finding.id for finding in refusal.value.findings] == ["rows-not-restored"]
    assert sql("SELECT id, name, n FROM t ORDER BY id") == [
        (1, "a", 1), (2, "a-2", 0), (5, "a", 5), (6, "a", 6), (40, "a-4", 4)
    ]  # fmt: skip
    problems = "SELECT id, dupe_audit_problem FROM dupe_audit.archive_1 WHERE dupe_audit_restored_at IS NULL"
    assert sql(f"{problems} ORDER BY id") == [
        (2, "the row was changed since"),
        (3, "the row was deleted since, or its primary key was changed"),
        (4, "the row was deleted since, or its primary key was changed"),
    ]
    sql("UPDATE t SET n = 2 WHERE id = 2; INSERT INTO t VALUES (3, 'a-3', 3); UPDATE t SET id = 4 WHERE id = 40")
    walk.back(NAME)
    assert {row[0] for row in sql("SELECT name FROM t")} == {"a"}


def test_survivor_changed_between_merge_and_restore(walk, sql):
    """A survivor that has changed since keeps its value and is reported; the extras of its group still return."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, k int, v int);
        INSERT INTO t VALUES (1, 1, 3), (2, 1, 4), (3, 2, 5), (4, 2, 6)""")
    walk.clean(K, merge({"v": "sum"}))
    sql("UPDATE t SET v = v + 1 WHERE id = 1")
    with pytest.raises(Refused, match="1 row"):
        walk.back(K)
    assert sql("SELECT * FROM t ORDER BY id") == [(1, 1, 8), (2, 1, 4), (3, 2, 5), (4, 2, 6)]
    # The page of rows-not-restored says how to keep the row as it is.
    page = (Path(__file__).parents[2] / "docs/reference/findings/rows-not-restored.md").read_text()
    (statement,) = [block for block in re.findall(r"```sql\n(.*?)```", page, re.DOTALL) if "erased" in block]
    sql(statement.replace("_7", f"_{walk.run(K).id}").replace("id = 7", f"id = {walk.run(K).id}"))
    walk.back(K)
    assert walk.run(K).state == "restored"
    assert sql("SELECT v FROM t WHERE id = 1") == [(8,)]


def test_extra_changed_between_ranking_and_batch(walk, sql, conn):
    """An extra that has left its key since the ranking is not amended; of others, the newest version is archived."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, n int);
        INSERT INTO t SELECT n, 'a', n FROM generate_series(1, 20) n""")
    for n, _ in enumerate(cleanup(conn, NAME, amend(batch_size=2), give_up_after="2s")):
        if not n:
            sql("UPDATE t SET name = 'b' WHERE id = 19; UPDATE t SET n = 100 WHERE id = 20")
    assert sql("SELECT name FROM t WHERE id = 19") == [("b",)]
    assert sql("SELECT DISTINCT n FROM dupe_audit.archive_1 WHERE id = 20") == [(100,)]


@pytest.mark.parametrize("first", ["amended", "archived"])
@pytest.mark.thorough
def test_two_runs_restored_in_either_order(walk, sql, first):
    """Two runs of one table, one amended and one archived, are restored in either order, the latter in a second try."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, k int);
        INSERT INTO t VALUES (1, 'a', 1), (2, 'a', 2), (3, 'b', 2), (4, 'b', 3)""")
    before = walk.dump("t")
    walk.clean(NAME, amend())
    walk.clean(K, CleanupRule(divergent="archive", keep="last"))
    assert sql("SELECT id, name FROM t ORDER BY id") == [(1, "a"), (3, "b"), (4, "b-2")]
    if first == "amended":
        with pytest.raises(Refused):
            walk.back(NAME)  # row 2 is in the other archive
    walk.back(K)
    walk.back(NAME)
    assert walk.dump("t") == before


def test_resumed_with_another_rule(walk, sql):
    """A run that continues by another rule restores what both have changed."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, n int, w text);
        INSERT INTO t VALUES (1, 'a', 1), (2, 'a', 2), (3, 'a', 3)""")
    before = walk.dump("t")
    walk.clean(NAME, amend({**NUMBERED, "n": "-n"}))
    sql("INSERT INTO t VALUES (4, 'a-2', 4), (5, 'a', 5)")
    walk.clean(NAME, amend({"name": "name || '+'", "w": "'w'"}))
    walk.clean(NAME, merge({"n": "sum"}))
    sql("INSERT INTO t VALUES (6, 'a', 1)")
    walk.clean(NAME, merge({"n": "sum"}, divergent="archive"))
    assert walk.run(NAME).archived == 1
    walk.back(NAME)
    sql("DELETE FROM t WHERE id > 3")
    assert walk.dump("t") == before


def test_resume_amends_the_rows_that_it_has_amended(walk, sql, conn):
    """A cleanup that is killed after its first pass amends its own rows again, and not the third row that they met."""
    sql("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'ann'), (2, 'ann'), (9, 'ann-2')")
    batches = cleanup(conn, NAME, amend(), give_up_after="2s")
    next(batches)
    batches.close()
    assert sql("SELECT name FROM t WHERE id = 2") == [("ann-2",)]
    walk.clean(NAME, amend())
    assert sql("SELECT * FROM t ORDER BY id") == [(1, "ann"), (2, "ann-2-2"), (9, "ann-2")]
    walk.back(NAME)
    assert sql("SELECT name FROM t WHERE id = 2") == [("ann",)]


#: a writer that adds a duplicate in the middle of every pass that changes a name
BUSY = """CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
    INSERT INTO t (name) VALUES ('ann'), ('ann');
    CREATE FUNCTION write() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN INSERT INTO t (name) VALUES ('ann'); RETURN NULL; END$$;
    CREATE TRIGGER writer AFTER UPDATE ON t FOR EACH ROW WHEN (old.name = 'ann') EXECUTE FUNCTION write()"""


#: values that cannot be predicted, because they contain a subquery
UNPREDICTABLE = {"name": "name || (SELECT '+')"}


@pytest.mark.parametrize("third", ["bob", "ann+"])
def test_writer_that_adds_a_duplicate_in_every_pass(walk, sql, third, caplog):
    """A writer that adds a duplicate during every pass does not keep the cleanup from ending, whatever collides."""
    sql(f"{BUSY}; INSERT INTO t (name) VALUES ('{third}')")
    with caplog.at_level("INFO", "alembic.dupe_audit"):
        passes = walk.clean(NAME, amend(UNPREDICTABLE))
    assert (len(passes), walk.run(NAME).state) == (2, "clean")
    assert "writers keep adding duplicates to public.t, so this cleanup ends; " in caplog.text
    walk.back(NAME)
    assert sql("SELECT name FROM t WHERE name <> 'ann'") == [(third,)]


def test_writer_that_adds_duplicates_during_the_first_pass(walk, sql, conn):
    """Duplicates that arrive while a cleanup runs are amended; if new values collide, the next cleanup amends again."""
    sql("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'ann'), (2, 'ann'), (3, 'bob+')")
    batches = cleanup(conn, NAME, amend(UNPREDICTABLE), give_up_after="2s")
    next(batches)
    sql("INSERT INTO t VALUES (4, 'bob'), (5, 'bob')")
    assert [batch.amended for batch in batches] == [1]
    assert [batch.amended for batch in walk.clean(NAME, amend(UNPREDICTABLE))] == [1]
    assert sql("SELECT * FROM t ORDER BY id") == [(1, "ann"), (2, "ann+"), (3, "bob+"), (4, "bob"), (5, "bob++")]
    walk.back(NAME)
    assert sql("SELECT name, count(*) FROM t GROUP BY 1 ORDER BY 1") == [("ann", 2), ("bob", 2), ("bob+", 1)]


@pytest.mark.parametrize(
    ("rows", "value"),
    [
        ("(1, 1), (2, 1), (3, 2)", "(SELECT 3 - k)"),
        # A collision that travels: each pass amends another row again.
        (", ".join(f"({n}, {-n}), ({100 + n}, {-n})" for n in range(1, 31)) + ", (200, 1)",
         "(SELECT CASE WHEN k < 0 THEN -k ELSE k % 30 + 1 END)"),
    ],
    ids=["back and forth", "travelling"],
)  # fmt: skip
@pytest.mark.representatives("travelling")
def test_rows_that_collide_in_every_pass(walk, sql, conn, rows, value):
    """Rows that collide after every pass end the cleanup with an error, also where writers are held."""
    sql(f"CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES {rows}")
    before = walk.dump("t")
    problem = "After 21 passes over public.t, amended rows still have the key of another row. "
    with pytest.raises(DupeAuditError, match=f"{problem}The rows amended so far are committed under run 1. Let"):
        walk.clean(K, amend({"k": value}))
    with pytest.raises(DupeAuditError, match=f"{problem}Let"), transaction(conn):
        clean_held(conn, K, amend({"k": value}))
    # The same command with a better value continues the run.
    walk.clean(K, amend({"k": "1000 + id"}))
    assert sql("SELECT count(*) - count(DISTINCT k) FROM t") == [(0,)]
    walk.back(K)
    assert walk.dump("t") == before


@pytest.mark.parametrize("batches", [0, 2, 3])
@pytest.mark.representatives("2")
def test_numbers_of_divergent_copies(walk, sql, conn, batches):
    """Where exact copies are archived, the others are numbered without gaps, also by a cleanup that was interrupted."""
    sql("CREATE TABLE t (id int PRIMARY KEY, name text, n int)")
    sql("INSERT INTO t VALUES (1, 'a', 1), (2, 'a', 1), (3, 'a', 2), (4, 'a', 1), (5, 'a', 3), (6, 'a', 4)")
    before, changes = walk.dump("t"), (Change("name", NUMBERED["name"]),)
    rule = CleanupRule(divergent="amend", changes=changes, batch_size=1)
    interrupted = cleanup(conn, NAME, rule)
    for _ in range(batches):
        next(interrupted)
    interrupted.close()
    walk.clean(NAME, rule)
    assert sql("SELECT id, name FROM t ORDER BY id") == [(1, "a"), (3, "a-2"), (5, "a-3"), (6, "a-4")]
    assert walk.run(NAME).archived == 2
    walk.back(NAME)
    assert walk.dump("t") == before


def test_purge_of_an_amended_run(walk, sql, conn):
    """A purge drops what the run keeps of its rows; the table stays as it is, and another run starts afresh."""
    sql("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a'), (2, 'a')")
    walk.clean(NAME, amend())
    ledger.purge(conn, 1)
    assert sql("SELECT relname FROM pg_class WHERE relnamespace = 'dupe_audit'::regnamespace AND relname ~ '_1$'") == []
    with pytest.raises(DupeAuditError, match="purged"):
        list(restore(conn, 1))
    sql("INSERT INTO t VALUES (3, 'a')")
    walk.clean(NAME, amend())
    assert sql("SELECT name FROM t ORDER BY id") == [("a",), ("a-2",), ("a-2-2",)]
    assert walk.run(NAME).id == 2


def test_columns_added_and_table_renamed_since(walk, sql):
    """A new column and a new name of the table do not keep rows from their way back; a renamed column does."""
    sql("CREATE TABLE t (id int PRIMARY KEY, name text, n int); INSERT INTO t VALUES (1, 'a', 1), (2, 'a', 2)")
    walk.clean(NAME, amend())
    sql("ALTER TABLE t ADD more int DEFAULT 7; ALTER TABLE t RENAME TO u; ALTER TABLE u RENAME n TO m")
    renamed = UniqueKey(table="u", columns=("name",))
    with pytest.raises(DupeAuditError, match="no longer has n"):
        walk.back(renamed)
    sql("ALTER TABLE u RENAME m TO n")
    walk.back(renamed)
    assert sql("SELECT * FROM u ORDER BY id") == [(1, "a", 1, 7), (2, "a", 2, 7)]


def test_column_added_while_the_cleanup_works(walk, sql, conn):
    """A column that is added between two batches ends the cleanup; the next one continues, and all rows return."""
    sql("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t SELECT n, 'a' FROM generate_series(1, 20) n")
    batches = cleanup(conn, NAME, amend(batch_size=2), give_up_after="2s")
    next(batches)
    sql("ALTER TABLE t ADD more int DEFAULT 7")
    with pytest.raises(DupeAuditError, match="columns or a foreign key to it changed"):
        list(batches)
    walk.clean(NAME, amend())
    walk.back(NAME)
    assert sql("SELECT DISTINCT name, more FROM t") == [("a", 7)]


def test_row_that_could_not_be_changed_back(walk, sql):
    """A row that violates a constraint that is not valid is not amended, because it could not be changed back."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, n int);
        INSERT INTO t VALUES (1, 'a', 0), (2, 'a', 0), (3, 'b', 2);
        ALTER TABLE t ADD CONSTRAINT positive CHECK (n > 0) NOT VALID""")
    assert walk.refused(NAME, amend({**NUMBERED, "n": "5"})) == [
        (
            "cannot-restore: Extras of public.t could not be inserted again, so a downgrade could not restore them: "
            "1 extra: check constraint positive."
        )
    ]
    sql("UPDATE t SET n = 1 WHERE id = 2")
    assert "restore them: 1 survivor: check constraint positive." in walk.refused(NAME, merge({"n": "sum"}))[0]


def test_composite_primary_key_and_quoted_names(walk, sql):
    """Rows are found again by all columns of the primary key, whatever these are called."""
    sql("""CREATE TABLE "T x" ("A" int, "b ""c" text, "Na me" text, PRIMARY KEY ("b ""c", "A"));
        INSERT INTO "T x" VALUES (1, 'x', 'n'), (1, 'y', 'n'), (2, 'x', 'n')""")
    key = UniqueKey(table="T x", columns=("Na me",))
    rule = amend({"Na me": """"Na me" || "A" || "b ""c" || survivor."A" """})
    assert walk.round(key, rule, 'SELECT "Na me" FROM "T x" ORDER BY 1') == [("n",), ("n1y1",), ("n2x1",)]


# --- what surrounds the table -------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_leaf_of_a_partitioned_table(walk, sql):
    """In a single partition, a new value outside of its bounds is refused before the first batch."""
    sql("""CREATE TABLE r (id int, name text, k int, PRIMARY KEY (id, k)) PARTITION BY RANGE (k);
        CREATE TABLE t PARTITION OF r FOR VALUES FROM (0) TO (10);
        CREATE TABLE u PARTITION OF r FOR VALUES FROM (10) TO (20);
        INSERT INTO r VALUES (1, 'a', 1), (2, 'a', 1)""")
    assert walk.round(NAME, amend(), "SELECT name FROM r ORDER BY id") == [("a",), ("a-2",)]


@pytest.mark.thorough
def test_leaf_whose_bounds_the_new_value_leaves(walk, sql):
    """A leaf without its parent's primary key: a new value outside of its bounds is refused before the first batch."""
    sql("""CREATE TABLE r (id int, name text) PARTITION BY LIST (name);
        CREATE TABLE t PARTITION OF r FOR VALUES IN ('a', 'b');
        ALTER TABLE t ADD PRIMARY KEY (id); INSERT INTO r VALUES (1, 'a'), (2, 'a')""")
    assert "1 extra: the new row violates the bounds of the partition" in walk.refused(NAME, amend())[0]
    assert walk.round(NAME, amend({"name": "'b'"})) == [(1, "a"), (2, "b")]


def test_children_by_inheritance_stay(walk, sql):
    """Rows of tables that inherit are no rows of the table: neither amended nor changed back."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE child () INHERITS (t);
        INSERT INTO t VALUES (1, 'a'), (2, 'a'); INSERT INTO child VALUES (2, 'a-2')""")
    walk.clean(NAME, amend())
    walk.back(NAME)
    assert sql("SELECT tableoid::regclass::text, id, name FROM t ORDER BY 1, 2") == [
        ("child", 2, "a-2"),
        ("t", 1, "a"),
        ("t", 2, "a"),
    ]


@pytest.mark.min_pg(15)
def test_equal_nulls_and_a_suffix(walk, sql):
    """With equal NULLs, rows whose key is NULL are extras too, and get a new value."""
    sql("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, NULL), (2, NULL), (3, 'a'), (4, 'a')")
    key = UniqueKey(table="t", columns=("name",), nulls_not_distinct=True)
    assert walk.round(key, amend({"name": "coalesce(name, 'none') || id"})) == [
        (1, None),
        (2, "none2"),
        (3, "a"),
        (4, "a4"),
    ]


def test_exclusion_constraint(walk, sql):
    """A new value that an exclusion constraint forbids ends the run with its name, and all is undone by a restore."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, during int4range, EXCLUDE USING gist (during WITH &&));
        INSERT INTO t VALUES (1, 'a', '[1,2)'), (2, 'a', '[2,3)'), (3, 'b', '[5,9)')""")
    before = walk.dump("t")
    with pytest.raises(Refused, match="constraint t_during_excl forbids the new row"):
        walk.clean(NAME, amend({**NUMBERED, "during": "'[6,7)'"}))
    assert walk.dump("t") == before


@pytest.mark.thorough
def test_published_table(walk, sql):
    """A published table is amended and restored, unless subscribers could not identify its rows."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a'), (2, 'a');
        CREATE PUBLICATION p FOR TABLE t""")
    assert walk.round(NAME, amend()) == [(1, "a"), (2, "a-2")]
    (warning,) = [each for each in judge(walk.conn, NAME, amend()) if each.id == "published-table"]
    assert "(p): the rows that a cleanup deletes or updates are sent to the subscribers" in warning.message
    sql("ALTER PUBLICATION p SET (publish = 'insert, delete')")
    (warning,) = [each for each in judge(walk.conn, NAME, amend()) if each.id == "published-table"]
    assert "(p (without update))" in warning.message
    assert "A publication without update or delete does not send these changes." in warning.help
    sql("ALTER TABLE t REPLICA IDENTITY NOTHING")
    assert [text.split(":")[0] for text in walk.blocked(NAME, amend())] == ["replica-identity"]


@pytest.mark.min_pg(15)
def test_publication_with_a_row_filter(walk, sql):
    """A warning says that the publication has a row filter, under which an update can delete a subscriber's row."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a'), (2, 'a');
        CREATE PUBLICATION p FOR TABLE t WHERE (id > 0)""")
    (warning,) = [each for each in judge(walk.conn, NAME, amend()) if each.id == "published-table"]
    assert "(p (with a row filter))" in warning.message
    assert "deleted on the subscriber" in warning.help


@pytest.mark.parametrize(
    ("rule", "help_"),
    [
        (amend(), "change the extras before it adds the constraint: op.amend_duplicates(…)"),
        (amend(), "the downgrade changes them back"),
        (replace(amend(), exact="archive"), "archive exact copies and change the other extras"),
        (merge({"name": "min"}), "merge={…}"),
        (CleanupRule(divergent="archive"), "op.archive_duplicates(…). Nothing is lost"),
    ],
    ids=["amend", "back", "both", "merge", "archive"],
)
@pytest.mark.representatives("both", "merge")
def test_advice_about_duplicates(walk, sql, rule, help_):
    """The finding about the duplicates recommends what the rule does, and not always archiving."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, name text); INSERT INTO t VALUES (1, 1, 'a'), (2, 1, 'a')")
    (duplicates,) = [each for each in preflight(walk.conn, K, rule).findings if each.id == "duplicates"]
    assert help_ in duplicates.help


@pytest.mark.thorough
def test_row_security(walk, sql, database_url):
    """A role whose rows a policy limits may not amend any, because others could be hidden."""
    sql("""CREATE ROLE dupe_audit_limited LOGIN; GRANT CREATE ON SCHEMA public TO dupe_audit_limited;
        CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a'), (2, 'a');
        ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY;
        CREATE POLICY p ON t USING (id < 2); ALTER TABLE t OWNER TO dupe_audit_limited""")
    try:
        walk.conn.exec_driver_sql("SET ROLE dupe_audit_limited")
        assert "row-security" in [text.split(":")[0] for text in walk.blocked(NAME, amend())]
        walk.conn.exec_driver_sql("RESET ROLE")
        sql("ALTER TABLE t OWNER TO CURRENT_USER")
        assert walk.round(NAME, amend()) == [(1, "a"), (2, "a-2")]
    finally:
        sql("DROP OWNED BY dupe_audit_limited CASCADE; DROP ROLE dupe_audit_limited")


def test_children_of_an_amended_row(walk, sql):
    """Rows that reference an extra stand in no amendment's way, with or without an index, and stay with it."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a'), (2, 'a');
        CREATE TABLE c (t_id int REFERENCES t ON DELETE CASCADE, filler text);
        INSERT INTO c SELECT 2, repeat('x', 1000) FROM generate_series(1, 2000)""")
    assert walk.round(NAME, amend()) == [(1, "a"), (2, "a-2")]
    assert sql("SELECT DISTINCT t_id FROM c") == [(2,)]


def test_trigger_that_changes_children_of_a_merged_group(walk, sql):
    """A group that is merged at once and cannot be divided ends the cleanup if a trigger disturbs every batch."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, n int); INSERT INTO t SELECT i, 'a', 1 FROM
            generate_series(1, 4) i;
        CREATE TABLE c (t_id int REFERENCES t ON DELETE CASCADE, n int DEFAULT 0); INSERT INTO c VALUES (1);
        CREATE INDEX ON c (t_id);
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE c SET n = n + 1; RETURN NULL; END';
        CREATE TRIGGER touch AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION touch()""")
    before = walk.dump("t")
    with pytest.raises(DupeAuditError, match="Most likely trigger touch did it"):
        walk.clean(NAME, merge({"n": "SQL sum(n)::int"}))
    assert walk.dump("t") == before


# --- the window ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule", [amend(), merge({"n": "sum"}), amend({"name": "NULL"})], ids=["suffix", "merge", "null"]
)
@pytest.mark.representatives("merge")
def test_window_that_holds_the_writers(walk, sql, conn, rule):
    """What arrives after every cleaning is amended or merged while the writers are held, third rows included."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, n int);
        INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 1), (3, 'a-2', 1)""")
    key = UniqueKey(table="t", columns=("name",), name="uq")
    rule, arrived = replace(rule, ignore=("n",)), iter(range(100, 200))

    def clean_again() -> int:
        done = list(cleanup(conn, key, rule))
        sql(f"INSERT INTO t VALUES ({next(arrived)}, 'a', 1), ({next(arrived)}, 'a', 1)")
        return sum(batch.archived + batch.amended for batch in done)

    clean_again()
    build = BuildRule(lock_timeout="20s", build_attempts=2)
    enforce(conn, key, build, clean_again=clean_again, clean_held=lambda: clean_held(conn, key, rule))
    assert [finding.id for finding in verify(conn, key).findings if finding.severity == "error"] == []
    assert sql("SELECT id, name FROM t WHERE id < 100 ORDER BY id") == [(1, "a"), (2, "b"), (3, "a-2")]
    rows = next(arrived) - 100
    assert rows == walk.run(key).archived + sql("SELECT count(DISTINCT id) FROM t WHERE id >= 100")[0][0]
    drop(conn, key, BuildRule())
    walk.back(key)
    assert sql("SELECT name, n, count(*)::int FROM t WHERE id >= 100 GROUP BY 1, 2") == [("a", 1, rows)]


def test_window_in_which_a_change_fails(walk, sql, conn):
    """A change that fails while the writers are held is refused with its reason, and nothing of the window stays."""
    sql("CREATE TABLE t (id int PRIMARY KEY, name varchar(3)); INSERT INTO t VALUES (1, 'abc')")
    key, rule = UniqueKey(table="t", columns=("name",), name="uq"), amend()
    list(cleanup(conn, key, rule))
    sql("INSERT INTO t VALUES (2, 'abc')")
    with pytest.raises(Refused, match="1 row: the value is too long for the column"), transaction(conn):
        clean_held(conn, key, rule)
    assert sql("SELECT * FROM t ORDER BY id") == [(1, "abc"), (2, "abc")]


@pytest.mark.parametrize(
    ("type_", "new", "expected"),
    [
        ("text", None, None),
        ("text", "it's \\ 50% {x} :y", "it's \\ 50% {x} :y"),
        ("int", 7, 7),
        ("text", 7, "7"),
        ("float8", -1.5, -1.5),
        ("float8", float("inf"), float("inf")),
        ("numeric", Decimal("1.250"), Decimal("1.250")),
        ("bool", True, True),
        ("date", date(2024, 2, 29), date(2024, 2, 29)),
        ("timestamptz", datetime(2024, 2, 29, 1, 2, 3, 4, UTC), datetime(2024, 2, 29, 1, 2, 3, 4, UTC)),
        ("time", time(1, 2, 3), time(1, 2, 3)),
        ("interval", timedelta(days=-1, seconds=2, microseconds=5), timedelta(days=-1, seconds=2, microseconds=5)),
        ("uuid", UUID(int=7), UUID(int=7)),
        ("bytea", b"\x00'\\", b"\x00'\\"),
        ("jsonb", {"a": ["'", None]}, {"a": ["'", None]}),
        ("jsonb", [1, "%s"], [1, "%s"]),
        (
            "jsonb",
            {"a": [Decimal("1.5"), date(2024, 2, 29), UUID(int=7)]},
            {"a": ["1.5", "2024-02-29", str(UUID(int=7))]},
        ),
        ("int[]", [3, None, 5], [3, None, 5]),
        ("text[]", ["a,b", 'c"{', "it's \\ %s", None], ["a,b", 'c"{', "it's \\ %s", None]),
        ("text[]", [], []),
        ("bool[]", [True, False], [True, False]),
        ("date[]", [date(2024, 2, 29)], [date(2024, 2, 29)]),
        ("jsonb[]", [{"a": 1}], [{"a": 1}]),
        ("many", [1, 2], [1, 2]),
        ("int[]", sa.text("'{7}'"), [7]),
        ("int[]", "[0:1]={7,8}", [7, 8]),
        ("mood", Mood.HAPPY, "happy"),
        ("text", sa.literal("x"), "x"),
        ("text", sa.func.upper(sa.text("name")), "A"),
        ("int", sa.null(), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ClauseElement) else repr(value),
)
@pytest.mark.representatives("'text'-\"it's*", "'jsonb'-{'a': [\"'\", None]}*")
def test_value_of_every_python_type(walk, sql, type_, new, expected):
    """A value that a revision passes in set_ arrives in the column as that value."""
    sql(f"""CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN many AS int[];
        CREATE TABLE t (id int PRIMARY KEY, name text, v {type_});
        INSERT INTO t (id, name) VALUES (1, 'a'), (2, 'a')""")
    rule = replace(amend(), changes=changes("set_", {"v": new, "name": sa.text("name || id")}))
    assert walk.round(NAME, rule, "SELECT v FROM t WHERE id = 2") == [(expected,)]


@pytest.mark.parametrize(
    "value", [[object()], {"a": {1, 2}}, [float("nan")], {"a": b"x"}], ids=["object", "set", "nan", "bytes"]
)
def test_list_or_dict_that_is_not_json(value):
    """A list or a dict that JSON cannot represent is refused with the column and what to write instead."""
    with pytest.raises(
        WrongUsage, match=r"set_ has .* for column 'v', which cannot be written as JSON: .*Use sa\.text"
    ):
        changes("set_", {"v": value})


def test_list_within_a_list(walk, sql):
    """A list within a list is JSON, and no array; the refusal comes before any row changes."""
    sql("CREATE TABLE t (id int PRIMARY KEY, name text, v int[]); INSERT INTO t VALUES (1, 'a', NULL), (2, 'a', NULL)")
    rule = replace(amend(), changes=changes("set_", {"v": [[1, 2], [3, 4]], "name": sa.text("name || id")}))
    assert "1 extra: the value cannot be read as the column's type" in walk.refused(NAME, rule)[0]


# --- what a hostile table has ---------------------------------------------------------------------------------------

COUNTS_CHANGES = """
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN new.at = coalesce(old.at, 0) + 1; RETURN new; END$$;
CREATE TRIGGER stamp BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION stamp()
"""


def test_row_changed_by_the_application_between_two_batches(walk, sql, conn):
    """A row that the application changes between two amendments keeps that change, although a trigger stamps it."""
    sql(f"""CREATE TABLE t (id int PRIMARY KEY, name text, n int, at int);
        INSERT INTO t VALUES (1, 'ann', 1, 0), (2, 'ann', 2, 0), (9, 'ann-2', 3, 0); {COUNTS_CHANGES}""")
    batches = cleanup(conn, NAME, amend(), give_up_after="2s")
    next(batches)
    sql("UPDATE t SET n = 222 WHERE id = 2")
    assert [batch.amended for batch in batches] == [1]
    with pytest.raises(Refused, match="rows-not-restored"):
        walk.back(NAME)
    assert sql("SELECT name, n FROM t WHERE id = 2") == [("ann-2", 222)]
    assert sql("SELECT dupe_audit_problem FROM dupe_audit.archive_1 WHERE dupe_audit_restored_at IS NULL") == [
        ("the row was changed since",)
    ]


def test_survivor_changed_by_the_application_between_two_merges(walk, sql, conn):
    """A survivor that the application changes between two merges keeps that change, although a trigger stamps it."""
    sql(f"""CREATE TABLE t (id int PRIMARY KEY, name text, n int, w int, at int);
        INSERT INTO t SELECT i, 'ann', i, 1, 0 FROM generate_series(1, 3) i; {COUNTS_CHANGES}""")
    batches = cleanup(conn, NAME, merge({"n": "sum"}, divergent="archive", batch_size=1), give_up_after="2s")
    next(batches)
    sql("UPDATE t SET w = 222 WHERE id = 1")
    assert [batch.merged for batch in batches] == [0, 1]
    with pytest.raises(Refused, match="rows-not-restored"):
        walk.back(NAME)
    assert sql("SELECT id, n, w FROM t ORDER BY 1") == [(1, 3, 222), (2, 2, 1), (3, 3, 1)]


def test_trigger_of_a_column_that_the_run_left_alone(walk, sql):
    """A restore names only columns that differ, so it fires no trigger that the amendment did not fire."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, price int); INSERT INTO t VALUES (1, 'a', 1), (2, 'a', 2);
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'the price is fixed'; END$$;
        CREATE TRIGGER keep BEFORE UPDATE OF price ON t FOR EACH ROW EXECUTE FUNCTION keep()""")
    before = walk.dump("t")
    walk.clean(NAME, amend())
    walk.back(NAME)
    assert walk.dump("t") == before


def test_generated_column_that_others_depend_on(walk, sql):
    """A column from which the primary key or a referenced column is generated is not changed."""
    sql("""CREATE TABLE t (name text, g text GENERATED ALWAYS AS (name || '!') STORED UNIQUE, n int,
                           id int GENERATED ALWAYS AS (n + 1) STORED PRIMARY KEY);
        INSERT INTO t (name, n) VALUES ('a', 1), ('b', 2);
        CREATE TABLE child (g text REFERENCES t (g) ON UPDATE CASCADE)""")
    assert [text.split(": ")[-1] for text in walk.blocked(NAME, amend({"name": "name || 2", "n": "n + 7"}))] == [
        "g, which is generated from name, is referenced by foreign key child_g_fkey of child.",
        "id, which is generated from n, is in the primary key, by which the row is found again.",
    ]


def test_column_of_a_leaf_that_is_referenced_through_its_parent(walk, sql):
    """In a single partition, a column that a foreign key to the partitioned table references is not changed."""
    sql("""CREATE TABLE p (id int, name text, UNIQUE (id, name)) PARTITION BY RANGE (id);
        CREATE TABLE t PARTITION OF p FOR VALUES FROM (0) TO (10); ALTER TABLE t ADD PRIMARY KEY (id);
        INSERT INTO p VALUES (1, 'a'), (2, 'a');
        CREATE TABLE child (id int, name text,
            CONSTRAINT child_p FOREIGN KEY (id, name) REFERENCES p (id, name) ON UPDATE CASCADE)""")
    blocked = [text for text in walk.blocked(NAME, amend()) if text.startswith("column-not-changeable")]
    assert [text.split(": ")[-1] for text in blocked] == ["name is referenced by foreign key child_p of child."]


def test_check_of_the_whole_row(walk, sql):
    """A constraint that a copy of the table cannot have is named before anything is changed."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, CONSTRAINT whole CHECK (t IS NOT NULL));
        INSERT INTO t VALUES (1, 'a'), (2, 'a')""")
    assert [text.split(": ")[-1] for text in walk.blocked(NAME, amend())] == [
        "constraint whole checks the whole row, so no change can be tried on a copy of the table."
    ]


@pytest.mark.parametrize(
    "since",
    ["ADD uid uuid DEFAULT gen_random_uuid(), ADD PRIMARY KEY (uid)", "ADD z int DEFAULT 1, ADD PRIMARY KEY (z, id)"],
)
@pytest.mark.representatives("ADD z int*")
def test_primary_key_of_a_column_added_since(walk, sql, since):
    """If the table has another primary key than the run knew, nothing is restored, and the message says why."""
    sql("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a'), (2, 'a')")
    before = walk.dump("t")
    walk.clean(NAME, amend())
    sql(f"ALTER TABLE t DROP CONSTRAINT t_pkey, {since}")
    with pytest.raises(DupeAuditError, match="no longer has the primary key by which run 1 would find the rows"):
        walk.back(NAME)
    sql("ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t DROP COLUMN IF EXISTS uid, DROP COLUMN IF EXISTS z")
    sql("ALTER TABLE t ADD PRIMARY KEY (id)")
    walk.back(NAME)
    assert walk.dump("t") == before


@pytest.mark.thorough
def test_least_value_by_the_order_of_its_type(walk, sql):
    """The least and the greatest value of a type with its own order are those of that order."""
    sql("""CREATE EXTENSION IF NOT EXISTS citext; CREATE TYPE mood AS ENUM ('sad', 'happy');
        CREATE TABLE t (id int PRIMARY KEY, name text, lo citext, hi citext, m mood);
        INSERT INTO t VALUES (1, 'a', 'B', 'B', NULL), (2, 'a', 'a', 'a', 'happy'), (3, 'a', 'C', 'c', 'sad')""")
    rule = merge({"lo": "min", "hi": "max", "m": "min"})
    assert walk.round(NAME, rule) == [(1, "a", "a", "c", "sad")]


@pytest.mark.parametrize("style", ["postgres", "sql_standard", "iso_8601"])
@pytest.mark.parametrize("value", [timedelta(days=-1, seconds=5), timedelta(microseconds=-1), timedelta(days=2)])
def test_duration_in_every_style_of_intervals(sql, style, value):
    """A duration that a revision passes in set_ means the same however the session writes intervals."""
    written = changes("set_", {"v": value})[0].sql
    assert sql(f"SET intervalstyle = {style}; SELECT extract(epoch FROM CAST({written} AS interval))::float8") == [
        (value.total_seconds(),)
    ]


@pytest.mark.thorough
def test_whole_row_of_the_survivor_in_a_new_value(walk, sql):
    """A new value can contain the whole row of the survivor."""
    sql("CREATE TABLE t (id int PRIMARY KEY, name text, of jsonb); INSERT INTO t (id, name) VALUES (1, 'a'), (2, 'a')")
    rows = walk.round(NAME, amend({"name": "name || id", "of": "to_jsonb(survivor)"}))
    assert rows[1] == (2, "a2", {"id": 1, "name": "a", "of": None})


@pytest.mark.thorough
def test_two_runs_of_a_row_that_a_trigger_stamps(walk, sql):
    """What a trigger writes when a later run is undone does not keep an earlier run from changing the row back."""
    sql(f"""CREATE TABLE t (id int PRIMARY KEY, name text, k int, at int);
        INSERT INTO t VALUES (1, 'a', 7, 0), (2, 'a', 7, 0), (3, 'b', 7, 0); {COUNTS_CHANGES}""")
    before = sql("SELECT id, name, k FROM t ORDER BY 1")
    walk.clean(NAME, amend())
    walk.clean(K, amend({"k": "k + id"}))
    walk.back(K)
    walk.back(NAME)
    assert sql("SELECT id, name, k FROM t ORDER BY 1") == before


def test_row_changed_by_the_application_between_two_runs(walk, sql):
    """A row that the application changes between two runs keeps that change, although a trigger stamps it."""
    sql(f"""CREATE TABLE t (id int PRIMARY KEY, name text, k int, n int, at int);
        INSERT INTO t VALUES (1, 'a', 7, 1, 0), (2, 'a', 7, 1, 0); {COUNTS_CHANGES}""")
    walk.clean(NAME, amend())
    sql("UPDATE t SET n = 222 WHERE id = 2")
    walk.clean(K, amend({"k": "k + id"}))
    walk.back(K)
    with pytest.raises(Refused, match="rows-not-restored"):
        walk.back(NAME)
    assert sql("SELECT name, k, n FROM t WHERE id = 2") == [("a-2", 7, 222)]


def test_a_batch_of_amendments_reads_its_part_of_the_staged_list(sql, conn, walk):
    """How many staged extras a batch reads depends on the batch, not on how many are staged."""
    sql("CREATE TABLE t (id int PRIMARY KEY, name text) WITH (autovacuum_enabled = off)")
    sql("INSERT INTO t SELECT i, 'n' || i % 1000 FROM generate_series(1, 2000) AS i; ANALYZE t")
    read: list[int] = []

    changing: list[str] = []

    def count(_conn: Connection, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("WITH judged"):
            changing.append(statement)
        elif statement == "COMMIT" and changing:
            changing.clear()
            cursor.execute(
                "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_all_tables"
                " WHERE schemaname = 'dupe_audit' AND relname LIKE 'stage%'"
            )
            read.extend(row[0] for row in cursor.fetchall())

    event.listen(conn, "before_cursor_execute", count)
    batches = walk.clean(NAME, amend(batch_size=50))
    assert 1000 == sum(batch.amended for batch in batches)
    # The server counts on until it passes its counts on, and then from 0 again.
    of_batches = [now - before if now > before else now for before, now in pairwise(read)]
    assert 0 < min(of_batches)
    assert max(of_batches) <= 5 * 50


@pytest.mark.thorough
def test_a_restore_finds_a_batch_without_reading_older_ones(sql, conn, walk):
    """How many archived rows are read to find the batch that is restored next depends on the batch."""
    sql("CREATE TABLE t (id int PRIMARY KEY, name text)")
    sql("INSERT INTO t SELECT i, 'n' || i % 1000 FROM generate_series(1, 2000) AS i; ANALYZE t")
    walk.clean(NAME, amend(batch_size=50))
    sql("ANALYZE dupe_audit.archive_1")
    read: list[int] = []

    def count(_conn: Connection, cursor: Any, statement: str, *_: Any) -> None:
        if "min(dupe_audit_id)" in statement:
            cursor.execute(f"EXPLAIN (ANALYZE, TIMING off, FORMAT JSON) {statement}")
            read.append(rows_read(cursor.fetchone()[0][0]["Plan"]))

    event.listen(conn, "before_cursor_execute", count)
    assert 1000 == sum(batch.reverted for batch in walk.back(NAME))
    assert len(read) > 1000 / 50
    assert max(read) <= 4 * 50


def rows_read(plan: dict[str, Any]) -> int:
    """Return how many rows the scans of tables in a plan have read."""
    own = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) if "Relation Name" in plan else 0
    return int(own) + sum(rows_read(part) for part in plan.get("Plans", []))


@pytest.mark.representatives("table-DELETE FROM t WHERE id = 1", "table-UPDATE t SET k = 9 WHERE id = 1")
@pytest.mark.parametrize("change", ["DELETE FROM t WHERE id = 1", "UPDATE t SET k = 9 WHERE id = 1"])
@pytest.mark.parametrize("table", ["", "PARTITION BY RANGE (r)"], ids=["table", "tree"])
def test_survivor_that_changes_while_the_merge_is_tried(sql, conn, psycopg_connect, table, change):
    """A merge is not refused because of a change that the application makes between two statements of the trial."""
    sql(f"CREATE TABLE t (id int, k int, n int, r int, PRIMARY KEY (id, r)) {table}")
    if table:
        sql("CREATE TABLE t_a PARTITION OF t DEFAULT")
    sql("INSERT INTO t VALUES (1, 7, 1, 1), (2, 7, 1, 1), (3, 8, 1, 1), (4, 8, 1, 1)")
    application, changed = psycopg_connect(autocommit=True), []

    def change_before_the_count(_conn, _cursor, statement, *_):
        if "AS same_keys" in statement and not changed:
            changed.append(application.execute(change))

    event.listen(conn.engine, "before_cursor_execute", change_before_the_count)
    list(cleanup(conn, UniqueKey(table="t", columns=("k", "r")), merge({"n": "sum"})))
    assert changed
    assert [(2, 7, 1), (3, 8, 2)] == sql("SELECT id, k, n FROM t WHERE k < 9 ORDER BY id")


LIVE = UniqueKey(table="t", columns=(Expression("lower(name)"),), where="live")
DIVIDED = (Change("name", "name || 1 / least(n, survivor.n)"),)


@pytest.mark.parametrize("number", [1, 2], ids=["survivor", "extra"])
@pytest.mark.parametrize(
    "change",
    ["DELETE FROM t", "UPDATE t SET name = 'zoe', n = 0", "UPDATE t SET live = false, n = 0",
     "UPDATE t SET name = NULL, n = 0"],
    ids=["deleted", "renamed", "dead", "null"],
)  # fmt: skip
@pytest.mark.parametrize(
    ("rule", "children"),
    [
        (CleanupRule(ignore=("name",)), ""),
        (CleanupRule(ignore=("name",)), "(2)"),
        (CleanupRule(ignore=("name",), references="repoint"), "(1), (2)"),
        (merge({"n": "sum"}, ignore=("name",)), ""),
        (CleanupRule(exact="amend", divergent="amend", changes=DIVIDED), ""),
        (CleanupRule(divergent="amend", changes=DIVIDED), ""),
    ],
    ids=["divergent", "referenced", "repointed", "merged", "amended", "mixed"],
)
@pytest.mark.representatives("divergent-dead-survivor", "referenced-renamed-extra", "repointed-dead-extra")
def test_pair_that_the_application_separates_after_the_ranking(
    walk, sql, psycopg_connect, rule, children, change, number
):
    """Rows that are no longer duplicates when the ranked pairs are judged are no reason to refuse the cleanup."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, live bool DEFAULT true, n int DEFAULT 1);
        CREATE TABLE c (t int UNIQUE REFERENCES t ON DELETE CASCADE);
        INSERT INTO t VALUES (1, 'Ann'), (2, 'ann'), (3, 'bob'), (4, 'Bob')""")
    if children:
        sql(f"INSERT INTO c VALUES {children}")
    application, left = psycopg_connect(autocommit=True), []

    def change_after_the_ranking(_conn, _cursor, statement, *_):
        if "CREATE UNLOGGED TABLE" in statement and not left:
            application.execute(f"{change} WHERE id = {number}")
            left.extend(walk.dump("t"))

    event.listen(walk.conn.engine, "after_cursor_execute", change_after_the_ranking)
    walk.clean(LIVE, rule)
    separated = [row for row in left if row[1] in "12"]
    assert separated == [row for row in walk.dump("t") if row[1] in "12"]
    assert sql("SELECT count(*) - count(DISTINCT lower(name)) FROM t WHERE live AND name IS NOT NULL") == [(0,)]
    walk.back(LIVE)
    assert walk.dump("t") == left
