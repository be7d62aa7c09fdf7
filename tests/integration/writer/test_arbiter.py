"""Rows are written whatever the state of the constraint, and the constraint is named as soon as it is valid."""

import threading

import psycopg
import pytest

from dupe_audit.model import UniqueKey
from dupe_audit.writer import delivery
from thoroughness import THOROUGH
from waiting import wait_for

KEY = UniqueKey(table="t", columns=("k",), name="once")
BUILD = "CREATE UNIQUE INDEX CONCURRENTLY once ON t (k)"


def kinds(outcomes):
    """Return the kinds of the outcomes."""
    return [outcome.kind for outcome in outcomes]


@pytest.fixture
def rows(sql, writer):
    """A writer of a table that has no constraint yet."""
    sql("CREATE TABLE t (id serial PRIMARY KEY, k text, v int)")
    return writer(KEY, ["k", "v"])


def test_absent(rows, sql, way):
    """Without a constraint, or an index to look a key up, every row is written, even a copy."""
    assert ["inserted"] * 3 == kinds(rows.write([("a", 1), ("a", 1), ("b", 1)]))
    assert not rows.arbiter.enforced
    assert [(3,)] == sql("SELECT count(*) FROM t")


@pytest.mark.parametrize(
    "type_", ["text", "varchar(9)", "citext", "mood", "bigint", "uuid", "timestamptz", "text[]", "dom"]
)
@pytest.mark.representatives(
    "row-text", "row-mood", "row-text[]", "together-citext", "together-timestamptz", "together-dom"
)
def test_absent_with_an_index_for_the_look_up(sql, writer, way, type_):
    """Without a constraint, but with an index to look a key up, copies are found and not written."""
    sql(f"CREATE TYPE mood AS ENUM ('a'); CREATE DOMAIN dom AS int; CREATE TABLE t (id int, k {type_}, n int, v int)")
    sql("CREATE INDEX ON t (k) INCLUDE (v)")
    value = {"bigint": 7, "uuid": f"{7:032}", "timestamptz": "2030-01-31T12:00:00Z", "text[]": ["a"], "dom": 7}
    k = value.get(type_, "a")
    rows = writer(UniqueKey(table="t", columns=("n", "k"), name="once"), ["k", "n", "v"])
    assert ["inserted", "in_batch", "inserted", "collision"] == kinds(
        rows.write([(k, 1, 1), (k, 1, 1), (k, 2, 1), (k, 2, 2)])
    )
    assert ["duplicate", "inserted"] == kinds(rows.write([(k, 1, 1), (k, None, 1)]))
    assert ["inserted"] == kinds(rows.write([(k, None, 1)]))
    assert not rows.arbiter.enforced


def test_an_index_with_too_many_rows_per_value(sql, writer, way):
    """An index with thousands of rows per value is not used to look a key up, because that would take too long."""
    sql("CREATE TABLE t (k text, n int); INSERT INTO t SELECT 'a', n FROM generate_series(1, 3000) AS n")
    sql("CREATE INDEX ON t (k); ANALYZE t")
    rows = writer(UniqueKey(table="t", columns=("k", "n"), name="once"), ["k", "n"])
    assert ["inserted"] == kinds(rows.write([("a", 1)]))


def test_valid(rows, sql, way):
    """A valid constraint is the arbiter, by its name."""
    sql("ALTER TABLE t ADD CONSTRAINT once UNIQUE (k)")
    assert ["inserted", "in_batch"] == kinds(rows.write([("a", 1), ("a", 1)]))
    assert "named" == rows.arbiter.mode


def test_an_index_that_is_no_constraint(rows, sql, way):
    """Between the build and the attach, the index prevents duplicates without being named."""
    sql(BUILD)
    assert ["inserted", "in_batch"] == kinds(rows.write([("a", 1), ("a", 1)]))
    assert not rows.arbiter.enforced


def test_deferrable(rows, sql, way):
    """A deferrable constraint cannot be the arbiter, but its index is used to find existing rows."""
    sql("ALTER TABLE t ADD CONSTRAINT once UNIQUE (k) DEFERRABLE")
    assert ["inserted", "inserted", "in_batch"] == kinds(rows.write([("a", 1), ("b", 1), ("a", 1)]))
    assert "any" == rows.arbiter.mode


@pytest.mark.parametrize("when", ["IMMEDIATE", "DEFERRED"])
def test_duplicate_without_a_conflict_clause(rows, sql, psycopg_connect, way, beside, until_blocked, when):
    """If a constraint is deferrable, any ON CONFLICT is an error, and a violation shows a duplicate."""
    sql(f"ALTER TABLE t ADD CONSTRAINT once UNIQUE (k) DEFERRABLE INITIALLY {when}")
    other = psycopg_connect()
    other.execute("INSERT INTO t (k, v) VALUES ('b', 1)")
    rows.probe()
    writing = beside(lambda: rows.write([("a", 1), ("b", 1), ("c", 1)]))
    until_blocked()
    other.commit()
    assert ["inserted", "duplicate", "inserted"] == kinds(writing.result())
    assert [(3,)] == sql("SELECT count(*) FROM t")


@pytest.mark.parametrize("ready", [False, True])
def test_being_built(rows, held_build, way, ready):
    """While the index is being built, rows are written without errors; once it is ready, duplicates are skipped."""
    with held_build(ready=ready):
        assert ["inserted"] == kinds(rows.write([("a", 1)]))
        assert ["duplicate" if ready else "inserted"] == kinds(rows.write([("a", 1)]))
        assert "any" == rows.arbiter.mode


def test_collision_with_a_row_committed_after_the_look_up(
    sql, writer, held_build, psycopg_connect, way, beside, until_blocked
):
    """While the index is ready but not valid, other data for a key that was committed meanwhile is a collision."""
    sql("CREATE TABLE t (id bigserial PRIMARY KEY, k text, v int); CREATE INDEX ON t (k)")
    rows = writer(KEY, ["k", "v"])
    with held_build(ready=True), psycopg_connect() as faster:
        faster.execute("INSERT INTO t (k, v) VALUES ('a', 1), ('b', 2)")
        writing = beside(lambda: rows.write([("a", 2), ("b", 2)]))
        until_blocked(2)  # the build is one of them
        faster.commit()
        assert ["collision", "duplicate"] == kinds(writing.result())


def test_an_unfinished_index_left_behind(rows, sql, held_build, cancelled, way):
    """An invalid index that is ready rejects only duplicates, and no row is lost."""
    with held_build(ready=True) as builder:
        cancelled(builder)
        assert [(False, True)] == sql("SELECT indisvalid, indisready FROM pg_index WHERE indexrelid = 'once'::regclass")
        assert ["inserted", "duplicate", "inserted"] == kinds(rows.write([("a", 1), ("a", 1), ("b", 1)]))


def test_a_build_that_failed(rows, sql, way):
    """An invalid index that enforces nothing does not disturb the writer."""
    sql("INSERT INTO t (k) VALUES ('a'), ('a')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql(BUILD)
    assert ["inserted"] == kinds(rows.write([("a", 1)]))


def test_constraint_created_dropped_and_re_created(rows, sql, way, monkeypatch):
    """If the constraint is created, dropped and re-created under a running writer, the writer follows each time."""
    monkeypatch.setattr(delivery, "PROBE_EVERY", 0.1)
    sql("ALTER TABLE t ADD CONSTRAINT once UNIQUE (k)")
    assert ["inserted"] == kinds(rows.write([("a", 1)]))
    sql("ALTER TABLE t DROP CONSTRAINT once")
    assert ["inserted"] == kinds(rows.write([("a", 1)]))
    assert "any" == rows.arbiter.mode
    assert {"42704": 1} == dict(rows.retries)

    sql("DELETE FROM t; ALTER TABLE t ADD CONSTRAINT once UNIQUE (k)")
    wait_for(lambda: rows.arbiter.mode == "named")
    assert ["inserted", "in_batch"] == kinds(rows.write([("a", 1), ("a", 1)]))


def test_constraint_that_becomes_deferrable(rows, sql, way):
    """A constraint that is replaced with a deferrable one is no longer named."""
    sql("ALTER TABLE t ADD CONSTRAINT once UNIQUE (k)")
    rows.write([("a", 1)])
    sql("ALTER TABLE t DROP CONSTRAINT once, ADD CONSTRAINT once UNIQUE (k) DEFERRABLE")
    assert ["duplicate", "inserted"] == kinds(rows.write([("a", 1), ("b", 1)]))
    assert {"55000": 1} == dict(rows.retries)


@pytest.mark.parametrize("form", ["REINDEX INDEX CONCURRENTLY once", "second"])
@pytest.mark.representatives("row-second", "together-REINDEX INDEX CONCURRENTLY once")
def test_under_concurrent_index_builds(rows, sql, writer, beside, way, form):
    """While the index is rebuilt, or a second one is built, ON CONFLICT can raise 23505, but no row is lost."""
    sql("ALTER TABLE t ADD CONSTRAINT once UNIQUE (k)")
    ended = threading.Event()

    def write(concurrent):
        outcomes = []
        while not ended.is_set() or len(outcomes) < 700:
            start = len(outcomes)
            outcomes += concurrent.write([(f"k{(start + offset) % 700}", 1) for offset in range(20)])
        return outcomes

    writing = [beside(write, writer(KEY, ["k", "v"])) for _ in range(3)]
    try:
        for _ in range(60 if THOROUGH else 10):
            if form == "second":
                sql("CREATE UNIQUE INDEX CONCURRENTLY twin ON t (k)")
                sql("DROP INDEX CONCURRENTLY twin")
            else:
                sql(form)
    finally:
        ended.set()
    written = [outcome.kind for batch in writing for outcome in batch.result()]
    assert {"inserted", "duplicate"} == set(written)
    assert 700 == written.count("inserted")
    assert [(700, 700)] == sql("SELECT count(*), count(DISTINCT k) FROM t")


def test_another_constraint_of_the_same_columns(rows, sql, way):
    """A violation of a second unique index over the key's columns is a duplicate too, not a rejection."""
    sql("ALTER TABLE t ADD CONSTRAINT once UNIQUE (k); CREATE UNIQUE INDEX twin ON t (k)")
    assert ["inserted", "in_batch", "inserted"] == kinds(rows.write([("a", 1), ("a", 1), ("b", 1)]))
    assert ["duplicate"] == kinds(rows.write([("a", 1)]))
