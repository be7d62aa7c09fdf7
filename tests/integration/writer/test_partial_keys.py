"""Keys that are unique in a part of the table, and indexes that reject a duplicate but cannot be the arbiter."""

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import insert

from dupe_audit.errors import DupeAuditError, WrongUsage
from dupe_audit.model import UniqueKey
from dupe_audit.writer import Writer, delivery, enforced, on_conflict
from waiting import wait_for

KEY = UniqueKey(table="t", columns=("k",))
TABLE = "CREATE TABLE t (id serial PRIMARY KEY, k text, v int, gone date)"
LIVE = "gone IS NULL"


def kinds(outcomes):
    """Return the kinds of the outcomes."""
    return [outcome.kind for outcome in outcomes]


@pytest.fixture
def live(sql, writer):
    """A writer of a table whose key is unique among the rows that are not deleted."""
    sql(f"{TABLE}; CREATE UNIQUE INDEX once ON t (k) WHERE {LIVE}")
    return writer(KEY, ["k", "v"], where=LIVE)


def test_the_arbiter_has_a_predicate(live, sql, way):
    """With its predicate, a partial index is the arbiter: duplicates, collisions and new keys are told apart."""
    assert ["inserted", "in_batch", "collision", "inserted"] == kinds(
        live.write([("a", 1), ("a", 1), ("a", 2), ("b", 1)])
    )
    outcomes = live.write([("a", 1), ("b", 2), ("c", 1)])
    assert ["duplicate", "collision", "inserted"] == kinds(outcomes)
    assert [1, 1] == [outcomes[0].id, sql("SELECT id FROM t WHERE k = 'a'")[0][0]]
    assert "columns" == live.arbiter.mode
    assert [(3,)] == sql("SELECT count(*) FROM t")


def test_rows_outside_the_part(live, sql, writer, way):
    """A key that exists only outside the part is inserted, and so is every row outside it."""
    live.write([("a", 1)])
    sql("UPDATE t SET gone = '2026-01-01'")
    assert ["inserted", "duplicate"] == [live.write_one(("a", 1)).kind for _ in range(2)]
    deleted = writer(KEY, ["k", "v", "gone"], where=LIVE)
    assert ["inserted", "inserted"] == kinds(deleted.write([("a", 1, "2026-01-02")] * 2))
    assert [(4,)] == sql("SELECT count(*) FROM t")


def test_a_default_decides_the_part(sql, writer, way):
    """Whether a row belongs to the part is decided after its defaults."""
    sql("CREATE TABLE t (k text, state text DEFAULT 'live'); CREATE UNIQUE INDEX ON t (k) WHERE state = 'live'")
    rows = writer(KEY, ["k"], where="state = 'live'")
    assert ["inserted", "in_batch"] == kinds(rows.write([("a",), ("a",)]))
    assert ["duplicate"] == kinds(rows.write([("a",)]))


def test_a_stronger_condition_than_the_index(sql, writer, way):
    """The server infers an index whose predicate follows from the condition."""
    sql(f"{TABLE}; CREATE UNIQUE INDEX once ON t (k) WHERE v > 0")
    rows = writer(KEY, ["k", "v"], where="v > 5")
    assert ["inserted", "in_batch"] == kinds(rows.write([("a", 7), ("a", 7)]))


def test_two_writers_at_the_same_moment(live, writer, psycopg_connect, way, beside, until_blocked):
    """A row that another session commits during the INSERT is a duplicate, or a collision."""
    with psycopg_connect() as faster:
        faster.execute("INSERT INTO t (k, v) VALUES ('a', 1), ('b', 2)")
        writing = beside(lambda: live.write([("a", 1), ("b", 1), ("c", 1)]))
        until_blocked()
        faster.commit()
        assert ["duplicate", "collision", "inserted"] == kinds(writing.result())


@pytest.mark.parametrize(
    ("index", "definition"),
    [
        ("CREATE UNIQUE INDEX once ON t (k) WHERE gone IS NULL", "(k) WHERE (gone IS NULL)"),
        ("CREATE UNIQUE INDEX once ON t (lower(k))", "(lower(k))"),
        ("CREATE UNIQUE INDEX once ON t (lower(k)) WHERE v > 0", "(lower(k)) WHERE (v > 0)"),
        ("ALTER TABLE t ADD CONSTRAINT once EXCLUDE USING hash (k WITH =)", "USING hash (k)"),
    ],
    ids=["partial", "expression", "partial expression", "exclusion"],
)
@pytest.mark.parametrize("name", [None, "once", "other"])
def test_an_index_that_would_reject_every_duplicate_is_refused(sql, writer, index, definition, name):
    """Without a fitting arbiter, the writer refuses at its start, with the table, the key and the definition."""
    sql(f"{TABLE}; {index}")
    rows = writer(UniqueKey(table="t", columns=("k",), name=name), ["k", "v"])
    with pytest.raises(WrongUsage) as refused:
        rows.write([("a", 1)])
    assert "public.t has no arbiter for the key (k), and would reject each duplicate because of: " in str(refused.value)
    assert definition in str(refused.value)
    assert "If that index enforces the key you mean, give its expressions as the elements of the key" in str(
        refused.value
    )
    assert [] == sql("TABLE t")


def test_a_condition_that_no_index_has(sql, writer):
    """A condition from which the predicate of no index follows is refused, if such an index exists."""
    sql(f"{TABLE}; CREATE UNIQUE INDEX once ON t (k) WHERE {LIVE}")
    with pytest.raises(WrongUsage, match=r"for the key \(k\) WHERE v > 0, and would reject"):
        writer(KEY, ["k", "v"], where="v > 0").probe()


@pytest.mark.parametrize("where", ["nope IS NULL", "gone IS NUL", "k > 1", "count(*) > 1"])
def test_a_condition_that_is_not_valid(sql, writer, where):
    """A condition that the server cannot read is refused in one sentence."""
    sql(f"{TABLE}; CREATE UNIQUE INDEX once ON t (k) WHERE {LIVE}")
    with pytest.raises(WrongUsage, match=r"is not a valid condition on public\.t: "):
        writer(KEY, ["k", "v"], where=where).probe()


@pytest.mark.parametrize(
    "index",
    [
        "CREATE UNIQUE INDEX ON t (v) WHERE gone IS NULL",
        "CREATE UNIQUE INDEX ON t (lower(v::text)) WHERE gone IS NULL",
        "CREATE UNIQUE INDEX ON t ((k || v))",
        "ALTER TABLE t ADD EXCLUDE USING gist (daterange(gone, gone, '[]') WITH &&)",
    ],
)
def test_indexes_about_something_else_are_accepted(sql, writer, index):
    """An index that allows a second row of the key refuses nobody."""
    sql(f"{TABLE}; {index}")
    assert "any" == writer(KEY, ["k", "v"]).probe().mode


def test_with_an_index_to_look_the_key_up_a_partial_index_is_accepted(sql, writer, way):
    """If the key can be looked up, duplicates are found before they violate anything, so nothing is refused."""
    sql(f"{TABLE}; CREATE UNIQUE INDEX once ON t (k) WHERE {LIVE}; CREATE INDEX ON t (k)")
    rows = writer(KEY, ["k", "v"])
    assert ["inserted", "in_batch"] == kinds(rows.write([("a", 1), ("a", 1)]))
    assert ["duplicate"] == kinds(rows.write([("a", 1)]))


def test_the_index_appears_and_goes_while_the_writer_runs(sql, writer, way, monkeypatch):
    """A writer that started before the index exists uses it once it is valid, and continues after it is dropped."""
    monkeypatch.setattr(delivery, "PROBE_EVERY", 0.1)
    sql(TABLE)
    rows = writer(KEY, ["k", "v"], where=LIVE)
    assert ["inserted", "inserted"] == kinds(rows.write([("a", 1), ("a", 1)]))
    assert "any" == rows.arbiter.mode

    sql("DELETE FROM t")
    sql(f"CREATE UNIQUE INDEX CONCURRENTLY once ON t (k) WHERE {LIVE}")
    wait_for(lambda: rows.arbiter.mode == "columns")
    assert ["inserted", "in_batch"] == kinds(rows.write([("a", 1), ("a", 1)]))
    sql("DROP INDEX CONCURRENTLY once")
    assert ["inserted"] == kinds(rows.write([("a", 1)]))
    assert {"42P10": 1} == dict(rows.retries)
    assert "any" == rows.arbiter.mode


def test_a_partial_index_appears_while_a_writer_without_a_condition_runs(sql, writer, way):
    """What violates a unique index over the key counts as a duplicate, not as a rejected row."""
    sql(TABLE)
    rows = writer(KEY, ["k", "v"])
    assert ["inserted"] == kinds(rows.write([("a", 1)]))
    sql(f"CREATE UNIQUE INDEX once ON t (k) WHERE {LIVE}")
    assert ["duplicate", "inserted"] == kinds(rows.write([("a", 1), ("b", 1)]))


def test_a_unique_index_over_more_columns(sql, writer, way):
    """A violation of an index over the key and more columns is a duplicate of the key."""
    sql(f"{TABLE}; CREATE UNIQUE INDEX once ON t (v, k)")
    rows = writer(KEY, ["k", "v"])
    assert ["inserted", "duplicate"] == [rows.write_one(("a", 1)).kind for _ in range(2)]


@pytest.mark.min_pg(15)
def test_equal_nulls_in_a_part(sql, writer, way):
    """A partial index with equal NULLs has one row for a NULL key."""
    sql(f"{TABLE}; CREATE UNIQUE INDEX once ON t (k) NULLS NOT DISTINCT WHERE {LIVE}")
    rows = writer(KEY, ["k", "v"], where=LIVE)
    assert ["inserted", "in_batch"] == kinds(rows.write([(None, 1), (None, 1)]))
    assert ["duplicate", "collision"] == kinds(rows.write([(None, 1), (None, 2)]))


def test_partitions(sql, writer, way):
    """The arbiter of a partitioned table has a predicate too."""
    sql("CREATE TABLE t (k int, v int, gone date) PARTITION BY RANGE (k)")
    sql("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)")
    sql(f"CREATE UNIQUE INDEX once ON t (k) WHERE {LIVE}")
    rows = writer(KEY, ["k", "v"], where=LIVE)
    assert ["inserted", "in_batch", "collision"] == kinds(rows.write([(1, 1), (1, 1), (1, 2)]))


def test_in_a_session(conn, sql):
    """The clause for a SQLAlchemy session has the condition, once a partial index fits it."""
    sql(TABLE)
    table = Table("t", MetaData(), Column("id", Integer, primary_key=True), Column("k", Text), Column("v", Integer))
    assert not enforced(conn, KEY, where=LIVE)
    sql(f"CREATE UNIQUE INDEX once ON t (k) WHERE {LIVE}")
    assert enforced(conn, KEY, where=LIVE)
    assert not enforced(conn, KEY)
    statement = on_conflict(insert(table).values(k="a", v=1), KEY, where=LIVE).returning(table.c.id)
    assert [1, None] == [conn.execute(statement).scalar_one_or_none() for _ in range(2)]


def test_a_role_that_may_not_insert(sql, writer, psycopg_connect):
    """A missing permission is reported as such, not as a wrong condition."""
    sql(f"{TABLE}; CREATE UNIQUE INDEX once ON t (k) WHERE {LIVE}")
    sql("DROP ROLE IF EXISTS reads_only; CREATE ROLE reads_only; GRANT SELECT ON t TO reads_only")
    try:
        connection = psycopg_connect(autocommit=True)
        connection.execute("SET ROLE reads_only")
        with pytest.raises(DupeAuditError, match="42501"):
            Writer(connection, KEY, ["k", "v"], where=LIVE).probe()
    finally:
        sql("DROP OWNED BY reads_only; DROP ROLE reads_only")
