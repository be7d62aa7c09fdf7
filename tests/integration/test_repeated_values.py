"""If the values of one column are mostly distinct, only rows that share a value of it are compared by the whole key."""

import random
from collections import Counter
from typing import NamedTuple

import pytest

from dupe_audit import statements
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.model import BuildRule, CleanupRule, Expression, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.planner import SEQUENTIAL
from dupe_audit.postgres.session import settings
from dupe_audit.preflight import preflight
from dupe_audit.restore import restore
from dupe_audit.verify import verify

RULE = CleanupRule(divergent="archive")
HASH = "pg_catalog.hashtextextended(t.k, 0)"


class Kind(NamedTuple):
    """A column of a key, and what is compared first."""

    define: str
    value: str  #: SQL for the value of row n
    narrow: str = "t.k"
    where: str | None = None
    nulls_not_distinct: bool = False


KINDS = {
    "int8": Kind("int8", "n"),
    "int4": Kind("int4 NOT NULL", "n"),
    "date": Kind("date", "date '2026-01-01' + n"),
    "timestamptz": Kind("timestamptz", "timestamptz '2026-01-01 00:00+00' + n * interval '1 minute'"),
    "timestamp": Kind("timestamp", "timestamp '2026-01-01' + n * interval '1 minute'"),
    "text": Kind("text", "'a' || n", HASH),
    "varchar": Kind("varchar(20)", "'a' || n", HASH),
    "part of the table": Kind("text", "'a' || n", HASH, where="v <> 'gone'"),
    "NULLs are equal": Kind("int4 NOT NULL", "n", nulls_not_distinct=True),
}
NOT_NARROWED = {
    "few values": Kind("int4", "n % 50", ""),
    "values that mostly repeat": Kind("int4", "n - n % 3", ""),
    "another type": Kind("numeric", "n", ""),
    "a NULL that repeats": Kind("int4", "n", "", nulls_not_distinct=True),
}


def create(sql, kind: Kind) -> None:
    """Create a table of 400 rows: some repeat a key, some only one of its columns, and some have a NULL in it."""
    draw = random.Random(7)  # noqa: S311 - the same rows every time
    numbers = [*range(360), *(draw.randrange(360) for _ in range(40))]
    draw.shuffle(numbers)
    drawn = [(n, draw.choice("1112"), draw.choice(("kept", "kept", "gone"))) for n in numbers]
    sql(f"CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, few int, k {kind.define}, v text)")
    value = kind.value if "NOT NULL" in kind.define else f"CASE WHEN n % 40 > 0 THEN {kind.value} END"
    rows = ", ".join(f"({n}, {few}, '{v}')" for n, few, v in drawn)
    sql(f"INSERT INTO t (few, k, v) SELECT few, {value}, v FROM (VALUES {rows}) AS drawn(n, few, v)")
    sql("ANALYZE t")


def extras_of(sql, kind: Kind) -> list[int]:
    """Return the ids of the extras, from keys that Python compares as text."""
    rows, counts, extras = sql(f"SELECT id, few, k::text, {kind.where or 'true'} FROM t ORDER BY id"), Counter(), []
    for row_id, few, value, covered in rows:
        if covered and (value is not None or kind.nulls_not_distinct):
            counts[few, value] += 1
            if counts[few, value] > 1:
                extras.append(row_id)
    return extras


def key_of(kind: Kind) -> UniqueKey:
    """Return the key over both columns, with the predicate and the NULL rule of the kind."""
    return UniqueKey(
        table="t",
        columns=("few", "k"),
        name="uq",
        where=kind.where,
        nulls_not_distinct=kind.nulls_not_distinct,
        form="index" if kind.where else "constraint",
    )


def narrowing(conn, key: UniqueKey) -> str:
    """Return the condition of the rows that are compared by the whole key."""
    key, relation = catalog.require(conn, key)
    return catalog.fragments(conn, relation, key, RULE)["t_can_repeat"]


@pytest.fixture(params=KINDS | NOT_NARROWED)
def kind(request, server_version_num) -> Kind:
    """Each kind of column."""
    kind = (KINDS | NOT_NARROWED)[request.param]
    if kind.nulls_not_distinct and server_version_num < 150000:
        pytest.skip("needs PostgreSQL 15")
    return kind


@pytest.mark.representatives("int8", "timestamptz", "text")
def test_every_step_handles_the_same_extras(kind, conn, sql):
    """Preflight, cleanup, verify and restore handle exactly the extras that a comparison of all rows finds."""
    create(sql, kind)
    extras, before, key = extras_of(sql, kind), sql("SELECT * FROM t ORDER BY id"), key_of(kind)
    assert len(extras) > 10
    assert narrowing(conn, key).partition(" OPERATOR")[0] == (kind.narrow or "true")
    assert preflight(conn, key, RULE).counts.extras == len(extras)
    assert verify(conn, key).extras == len(extras)
    assert sum(batch.archived for batch in cleanup(conn, key, RULE)) == len(extras)
    left = {row[0] for row in sql("SELECT id FROM t")}
    assert [row[0] for row in before if row[0] not in left] == extras
    enforce(conn, key, BuildRule())
    report = verify(conn, key)
    assert report.extras == 0
    drop(conn, key, BuildRule())
    list(restore(conn, report.run.id))
    assert sql("SELECT * FROM t ORDER BY id") == before


@pytest.mark.parametrize(
    ("careful", "careless", "kind"),
    [
        ("least(pg_catalog.count(*), 2) = 2", "pg_catalog.count(*) > 2", KINDS["text"]),
        ("OR NOT col.attnotnull AND rel.nulls_not_distinct", "", NOT_NARROWED["a NULL that repeats"]),
    ],
    ids=["only groups of three", "a column with NULLs that are equal"],
)
@pytest.mark.min_pg(15)
def test_careless_conditions_overlook_extras(careful, careless, kind, conn, sql, monkeypatch):
    """With a condition that leaves out rows of a group, the extras are no longer those of the comparison."""
    create(sql, kind)

    def statement(name: str, /, **holes: str) -> str:
        text = statements.statement(name, **holes)
        assert name != "fragments" or careful in text
        return text.replace(careful, careless)

    monkeypatch.setattr(catalog, "statement", statement)
    report = preflight(conn, key_of(kind), RULE)
    assert report.counts.extras < len(extras_of(sql, kind))


@pytest.mark.parametrize(
    "columns",
    [("k",), ("few", "k", "n"), (Expression("lower(k)"), "few"), ("n",)],
    ids=["a text", "the cheapest of several", "an expression", "an integer"],
)
def test_which_column_is_compared_first(columns, conn, sql):
    """An integer comes before a text, and an integer alone or a key with an expression is compared whole."""
    sql("CREATE TABLE t (few int, k text, n int8)")
    sql("INSERT INTO t SELECT n % 3, 'a' || n, n FROM generate_series(1, 100) AS n")
    sql("ANALYZE t")
    narrow = narrowing(conn, UniqueKey(table="t", columns=columns, name="uq")).partition(" OPERATOR")[0]
    assert narrow == (HASH if columns == ("k",) else "t.n" if "few" in columns and "n" in columns else "true")


def test_a_table_without_statistics_is_compared_whole(conn, sql):
    """As long as nothing is known about the values, all rows are compared by the whole key."""
    sql("CREATE TABLE t (k text)")
    sql("INSERT INTO t SELECT n FROM generate_series(1, 100) AS n")
    assert narrowing(conn, UniqueKey(table="t", columns=("k",), name="uq")) == "true"


def test_statistics_that_are_no_longer_true(conn, sql):
    """If most values repeat although the statistics say otherwise, the same extras are archived."""
    sql("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k text)")
    sql("INSERT INTO t (k) SELECT n FROM generate_series(1, 100) AS n")
    sql("ANALYZE t")
    sql("INSERT INTO t (k) SELECT n % 5 FROM generate_series(1, 900) AS n")
    key = UniqueKey(table="t", columns=("k",), name="uq")
    assert narrowing(conn, key) != "true"
    assert sum(batch.archived for batch in cleanup(conn, key, RULE)) == 899
    assert sql("SELECT count(*), count(DISTINCT k) FROM t") == [(101, 101)]


def test_leaves_of_a_partitioned_table(conn, sql):
    """The statistics of the partitioned table decide for all of its leaves."""
    sql("CREATE TABLE t (few int, k text) PARTITION BY LIST (few)")
    sql("CREATE TABLE t_1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t_2 PARTITION OF t FOR VALUES IN (2)")
    sql("INSERT INTO t SELECT 1 + n % 2, 'a' || n FROM generate_series(1, 200) AS n")
    sql("INSERT INTO t SELECT 1 + n % 2, 'a' || n FROM generate_series(1, 20) AS n")
    sql("ANALYZE t")
    key = UniqueKey(table="t", columns=("few", "k"), name="uq")
    assert narrowing(conn, key).startswith(HASH)
    assert preflight(conn, key, RULE).counts.extras == 20
    assert sum(batch.archived for batch in cleanup(conn, key, RULE)) == 20
    assert verify(conn, key).extras == 0


def test_texts_that_a_collation_considers_equal(conn, sql):
    """A text column with a nondeterministic collation is narrowed by a hash of what the collation compares."""
    if not sql("SELECT FROM pg_collation WHERE collprovider = 'i'"):
        pytest.skip("the server was built without ICU")
    sql("CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    sql("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k text COLLATE loose)")
    sql("INSERT INTO t (k) SELECT 'a' || n FROM generate_series(1, 200) AS n")
    sql("INSERT INTO t (k) SELECT 'A' || n FROM generate_series(1, 20) AS n")
    sql("ANALYZE t")
    key = UniqueKey(table="t", columns=("k",), name="uq")
    assert narrowing(conn, key).startswith(HASH)
    assert sum(batch.archived for batch in cleanup(conn, key, RULE)) == 20
    enforce(conn, key, BuildRule())


@pytest.mark.parametrize("setting", ["enable_hashjoin", "enable_nestloop"])
def test_a_predicate_newer_than_the_statistics(setting, conn, sql):
    """Where the planner expects one row and there are thousands, they are joined by a hash."""
    sql("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k text, few int, status text)")
    sql("INSERT INTO t (k, few, status) SELECT n, n % 3, 'old' FROM generate_series(1, 20000) AS n")
    sql("ANALYZE t")
    sql("UPDATE t SET status = 'new'; INSERT INTO t (k, few, status) SELECT k, few, status FROM t")
    key = UniqueKey(table="t", columns=("k", "few"), name="uq", where="status = 'new'", form="index")
    conn.exec_driver_sql(f"SET {setting} = {'off' if setting == 'enable_hashjoin' else 'on'}")
    key, relation = catalog.require(conn, key)
    holes = catalog.fragments(conn, relation, key, RULE)
    with settings(conn, SEQUENTIAL):
        query = statements.fill_known(statements.template("count_extras"), holes)
        plan = "\n".join(row[0] for row in conn.exec_driver_sql(f"EXPLAIN {query}"))
        assert conn.exec_driver_sql(query).scalar() == 20000
    assert "Hash Semi Join" in plan
    assert "Nested Loop" not in plan
