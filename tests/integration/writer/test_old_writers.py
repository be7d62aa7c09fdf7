"""What writers that do not expect the constraint do to the table, and how the index affects them."""

import psycopg
import pytest

INSERT = "INSERT INTO t (k) VALUES ('a')"
SISTER = "INSERT INTO t (id, k) VALUES (gen_random_uuid(), 'a') ON CONFLICT (id) DO NOTHING"


@pytest.fixture
def table(sql):
    """A table with no key but its random id."""
    sql("CREATE TABLE t (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), k text)")


def test_select_then_insert_is_a_race(table, sql, psycopg_connect):
    """Two writers that SELECT first both find nothing, and both insert: the control for all other tests."""
    pair = [psycopg_connect(autocommit=True) for _ in range(2)]
    existing = [writer.execute("SELECT id FROM t WHERE k = 'a'").fetchone() for writer in pair]
    for writer, row in zip(pair, existing, strict=True):
        if not row:
            writer.execute(INSERT)
    assert [(2,)] == sql("SELECT count(*) FROM t")


def test_on_conflict_with_a_fresh_id_never_applies(table, sql):
    """The sister writer's ON CONFLICT (id) lets every redelivery in."""
    sql(SISTER)
    sql(SISTER)
    assert [(2,)] == sql("SELECT count(*) FROM t")


@pytest.mark.parametrize("statement", [INSERT, SISTER], ids=["select-then-insert", "sister"])
@pytest.mark.parametrize("state", ["ready", "leftover", "valid"])
def test_an_old_writer_meets_the_index(table, sql, held_build, cancelled, statement, state):
    """Old writers fail with 23505 once the index is ready, before a constraint exists, and with a leftover."""
    with held_build(ready=True) as builder:
        sql(INSERT)
        if state == "leftover":
            cancelled(builder)
        if state != "valid":
            with pytest.raises(psycopg.errors.UniqueViolation, match="once"):
                sql(statement)
            assert [] == sql("SELECT 1 FROM pg_constraint WHERE conname = 'once'")
    if state == "valid":
        assert [(True,)] == sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'once'::regclass")
        with pytest.raises(psycopg.errors.UniqueViolation, match="once"):
            sql(statement)


def test_an_old_writer_before_the_index_is_ready(table, sql, held_build):
    """While the index is not ready, no row is rejected, duplicates are inserted, and the build fails on them."""
    with held_build(ready=False):
        sql(INSERT)
        sql(INSERT)
    assert [(2,)] == sql("SELECT count(*) FROM t")
    assert [(False,)] == sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'once'::regclass")
