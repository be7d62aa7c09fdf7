"""Hard cases A: which rows are removed, and what other sessions do to them meanwhile."""

import json

import psycopg
import pytest

from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import enforce
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.preflight import preflight
from dupe_audit.render import preflight_json
from dupe_audit.verify import verify

KEY = UniqueKey(table="t", columns=("k",), name="uq")
PAIR = "CREATE TABLE t (id int PRIMARY KEY, k int, v int DEFAULT 0); INSERT INTO t VALUES (1, 7), (2, 7)"
KEEP_THE_LAST = (
    "DELETE FROM t WHERE id IN (SELECT id FROM "
    "(SELECT id, row_number() OVER (PARTITION BY k ORDER BY id DESC) AS n FROM t) AS ranked WHERE n > 1)"
)


@pytest.mark.parametrize(
    ("change", "end", "remaining"),
    [
        ("DELETE FROM t WHERE id = 1", "COMMIT", [(2, 7)]),
        ("DELETE FROM t WHERE id = 1", "ROLLBACK", [(1, 7)]),
        ("UPDATE t SET k = 99 WHERE id = 1", "COMMIT", [(1, 99), (2, 7)]),
        ("UPDATE t SET k = 99 WHERE id = 1", "ROLLBACK", [(1, 7)]),
        ("UPDATE t SET k = 99 WHERE id = 2", "COMMIT", [(1, 7), (2, 99)]),
        ("UPDATE t SET k = 99 WHERE id = 2", "ROLLBACK", [(1, 7)]),
        (KEEP_THE_LAST, "COMMIT", [(2, 7)]),
        (KEEP_THE_LAST, "ROLLBACK", [(1, 7)]),
    ],
    ids=lambda text: text if isinstance(text, str) and len(text) < 40 else None,
)
@pytest.mark.representatives(
    "DELETE FROM t WHERE id = 1-COMMIT*",
    "UPDATE t SET k = 99 WHERE id = 1-ROLLBACK*",
    "UPDATE t SET k = 99 WHERE id = 2-COMMIT*",
    "change6*",
)
def test_h2_h3_h4_h6_uncommitted_change_is_judged_after_it_ends(sql, conn, psycopg_connect, change, end, remaining):
    """Rows that an open transaction has changed, such as a rival cleanup's, are skipped until it ends."""
    sql(PAIR)
    other = psycopg_connect()
    other.execute(change)
    batches = cleanup(conn, KEY, CleanupRule(), give_up_after="5min")
    first = next(batches)
    assert (0, 1) == (first.archived, first.spared)

    other.execute(end)
    list(batches)
    assert remaining == sql("SELECT id, k FROM t ORDER BY id")


@pytest.mark.parametrize(
    ("row", "remaining"), [(1, [(1, 99), (2, 7)]), (2, [(1, 7), (2, 99)])], ids=["survivor", "extra"]
)
def test_h3_h4_key_change_after_a_later_ranking_keeps_both_rows(
    sql, conn, psycopg_connect, just_before, row, remaining
):
    """In a later pass, which locks rows by primary key, a row whose key has changed since its ranking stays."""
    sql(PAIR)
    other = psycopg_connect()
    other.execute(f"SELECT FROM t WHERE id = {row} FOR UPDATE".encode())
    batches = cleanup(conn, KEY, CleanupRule(divergent="archive"), give_up_after="5min")
    assert (0, 1) == ((first := next(batches)).archived, first.spared)

    def change():
        other.execute(f"UPDATE t SET k = 99 WHERE id = {row}".encode())
        other.commit()

    intercepted = just_before("INSERT INTO pg_temp.dupe_audit_locked", change)
    list(batches)
    assert intercepted
    assert remaining == sql("SELECT id, k FROM t ORDER BY id")


def test_h5_rows_are_locked_before_they_are_judged(sql, conn, psycopg_connect, just_before, live):
    """Once a batch has locked its rows and judges them, no session can change the survivor or the extras."""
    sql(PAIR)
    other, refused = psycopg_connect(autocommit=True), []
    other.execute("SET lock_timeout = '100ms'")

    def interfere():
        for change in (
            "DELETE FROM t WHERE id = 1",
            "UPDATE t SET k = 99 WHERE id = 1",
            "UPDATE t SET k = 8 WHERE id = 2",
        ):
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute(change.encode())
            refused.append(change)

    just_before("DELETE FROM ONLY", interfere)
    list(cleanup(conn, KEY, CleanupRule()))

    assert 3 == len(refused)
    assert [1] == live()


def test_h8_rows_at_the_same_position_in_other_partitions_stay(sql, clean):
    """Without a primary key, rows at the same physical position in other partitions are not touched."""
    sql("CREATE TABLE p (id int, k int, r int) PARTITION BY RANGE (r)")
    sql("CREATE TABLE t PARTITION OF p FOR VALUES FROM (0) TO (10)")
    sql("CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20)")
    sql("INSERT INTO p VALUES (1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 50, 11), (5, 51, 12), (6, 1, 13)")
    clean(KEY, ignore=("id",))
    assert [(1,), (4,), (5,), (6,)] == sql("SELECT id FROM p ORDER BY id")


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_h19_batch_sets_its_own_isolation_level(sql, connect, just_before, live, isolation):
    """A change committed in the middle of a batch is judged and does not end the run, whatever the role's level."""
    sql(PAIR)
    connection = connect(default_transaction_isolation=isolation)
    change = "UPDATE t SET v = 1 WHERE id = 2"
    intercepted = just_before("INSERT INTO pg_temp.dupe_audit_locked", lambda: sql(change), on=connection)
    list(cleanup(connection, KEY, CleanupRule(ignore=("v",)), give_up_after="5min"))
    assert intercepted
    assert [1] == live()


def test_h20_archive_has_the_values_that_were_deleted(sql, conn, psycopg_connect):
    """The archive has the extra as it was when it was deleted, not as it was when it was ranked."""
    sql(PAIR)
    other = psycopg_connect()
    other.execute("UPDATE t SET v = 999 WHERE id = 2")
    batches = cleanup(conn, KEY, CleanupRule(ignore=("v",)), give_up_after="5min")
    next(batches)
    other.commit()
    list(batches)
    assert [(2, 999)] == sql("SELECT id, v FROM dupe_audit.archive_1")


def test_h22_never_analysed_table_has_no_negative_numbers(sql, conn):
    """If the catalog has no statistics, the estimates are rough, but no number is below zero."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int) WITH (autovacuum_enabled = off)")
    sql("INSERT INTO t VALUES (1, 7), (2, 7)")
    assert [(-1,)] == sql("SELECT reltuples::int FROM pg_class WHERE oid = 't'::regclass")
    report = preflight(conn, KEY)
    assert report.estimates.index_bytes > 0
    assert min(report.estimates.archive_bytes, report.estimates.temp_bytes) >= 0
    assert "-1" not in json.dumps(preflight_json(report))


def test_h26_row_counts_add_up_under_traffic(sql, conn):
    """Rows before, archived and after differ by exactly what the application inserted and deleted meanwhile."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t SELECT i, i % 50 FROM generate_series(1, 100) AS i")
    batches = cleanup(conn, KEY, CleanupRule(batch_size=10))
    next(batches)
    sql("INSERT INTO t SELECT i, i FROM generate_series(1001, 1007) AS i; DELETE FROM t WHERE id IN (1, 2)")
    list(batches)
    enforce(conn, KEY, BuildRule())

    report = verify(conn, KEY)
    assert report.run
    assert [] == [f.id for f in report.findings if f.severity == "error"]
    assert 100 == report.run.rows_before
    assert 7 - 2 == report.traffic
    assert report.rows == report.run.rows_before + report.traffic - report.run.archived
