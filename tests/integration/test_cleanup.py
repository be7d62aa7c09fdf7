"""Extras are moved to the archive, and no key loses its last row, whatever happens in the meantime."""

import signal
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.cleanup import cleanup, passes
from dupe_audit.errors import Blocked, DupeAuditError, Refused, WrongUsage
from dupe_audit.model import CleanupRule, Merge, UniqueKey
from dupe_audit.restore import restore
from waiting import PATIENCE, wait_for

KEY = UniqueKey(table="t", columns=("k",))
ONE_BY_ONE = CleanupRule(batch_size=1)


def archived(sql, run=1):
    """Return the ids of the rows that a run has archived."""
    return [row[0] for row in sql(f"SELECT id FROM dupe_audit.archive_{run} ORDER BY id")]


def live(sql):
    """Return the ids of the rows in the table."""
    return [row[0] for row in sql("SELECT id FROM t ORDER BY id")]


# Choosing the survivor


@pytest.mark.parametrize(
    ("definition", "survivors"),
    [
        ("id int PRIMARY KEY", [(1, "a"), (3, "b")]),
        ("id int, PRIMARY KEY (k, id)", [(1, "a"), (3, "b")]),
        ("id int", [(1, "a"), (3, "b")]),
    ],
    ids=["primary key", "composite primary key", "no primary key"],
)
def test_first_row_of_each_group_stays(sql, clean, definition, survivors):
    """The first row of each group stays, whether rows are identified by a primary key or by their position."""
    sql(f"CREATE TABLE t (k text, {definition}); INSERT INTO t (id, k) VALUES (1, 'a'), (2, 'a'), (3, 'b'), (4, 'a')")
    clean(KEY, ignore=("id",))
    assert survivors == sql("SELECT id, k FROM t ORDER BY id")
    assert archived(sql) == [2, 4]


@pytest.mark.parametrize(
    ("keep", "survivor"), [("first", 3), ("last", 1)], ids=["the first is the oldest", "the last is the newest"]
)
def test_order_by_decides_the_survivor(sql, clean, keep, survivor):
    """The rule's order_by decides which row stays, not the order of the primary key."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, at date)")
    sql("INSERT INTO t VALUES (1, 7, '2024-03-01'), (2, 7, '2024-02-01'), (3, 7, '2024-01-01')")
    clean(KEY, keep=keep, order_by=("at",), ignore=("at",))
    assert [survivor] == live(sql)


@pytest.mark.min_pg(18)
def test_primary_key_without_overlaps_does_not_identify_rows(sql, conn, psycopg_connect, unhurried):
    """The operators of a primary key WITHOUT OVERLAPS are not equality, so rows are identified by their position."""
    sql("CREATE TABLE t (id int4range, during daterange, k int, PRIMARY KEY (id, during WITHOUT OVERLAPS))")
    sql("INSERT INTO t SELECT int4range(i, i + 5), '[2026-01-01,2027-01-01)', 7 FROM generate_series(1, 9) AS i")
    other = psycopg_connect()
    other.execute("SELECT FROM t WHERE lower(id) = 3 FOR UPDATE")
    batches = cleanup(conn, KEY, CleanupRule(ignore=("id",)), give_up_after="10s")
    first_pass = [next(batches), next(batches)]
    assert (7, 1) == (sum(b.archived for b in first_pass), sum(b.spared for b in first_pass))
    other.rollback()
    assert 1 == sum(batch.archived for batch in batches)
    assert [("[1,6)", 7)] == sql("SELECT id::text, k FROM t")


@pytest.mark.parametrize(("keep", "survivor"), [("first", 1), ("last", 3)])
def test_ties_are_broken_by_the_primary_key_h10(sql, clean, keep, survivor):
    """Rows that order_by does not distinguish are ordered by their primary key, so every run keeps the same row."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, at date)")
    sql("INSERT INTO t VALUES (2, 7, '2024-01-01'), (3, 7, '2024-01-01'), (1, 7, '2024-01-01')")
    clean(KEY, keep=keep, order_by=("at",))
    assert [survivor] == live(sql)


@pytest.mark.parametrize("keep", ["first", "last"])
def test_nulls_in_order_by_come_last(sql, clean, keep):
    """A row whose order_by column is NULL never survives a row that has a value, in either direction."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, at date)")
    sql("INSERT INTO t VALUES (1, 7, NULL), (2, 7, '2024-01-01'), (3, 7, NULL)")
    clean(KEY, keep=keep, order_by=("at",), ignore=("at",))
    assert [2] == live(sql)


def test_divergent_groups_are_refused_h23(sql, clean):
    """Rows with different data are left alone unless the rule says otherwise, and so are all other rows."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v text)")
    sql("INSERT INTO t VALUES (1, 7, 'a'), (2, 7, 'b'), (3, 8, 'c'), (4, 8, 'c')")
    with pytest.raises(Refused, match="divergent-duplicates") as refusal:
        clean(KEY)
    assert [f.id for f in refusal.value.findings] == ["divergent-duplicates"]
    assert live(sql) == [1, 2, 3, 4]
    assert archived(sql) == []
    assert sql("SELECT state FROM dupe_audit.run") == [("failed",)]


def test_divergent_groups_are_refused_without_a_primary_key(sql, clean):
    """Without a primary key, several rows that differ from one survivor are refused as one group."""
    sql("CREATE TABLE t (k int, v text); INSERT INTO t VALUES (7, 'a'), (7, 'b'), (7, 'c')")
    with pytest.raises(Refused, match="1 group with 2 extras"):
        clean(KEY)
    assert sql("SELECT count(*) FROM t") == [(3,)]


def test_divergent_groups_are_archived_if_the_rule_says_so(sql, clean):
    """With divergent='archive', rows with different data are archived unchanged."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v text)")
    sql("INSERT INTO t VALUES (1, 7, 'a'), (2, 7, 'b'), (3, 7, NULL)")
    clean(KEY, divergent="archive")
    assert live(sql) == [1]
    assert sql("SELECT id, k, v FROM dupe_audit.archive_1 ORDER BY id") == [(2, 7, "b"), (3, 7, None)]


def test_ignored_columns_make_no_difference(sql, clean):
    """Rows that differ only in ignored columns are exact duplicates."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v text, at timestamptz DEFAULT clock_timestamp())")
    sql("INSERT INTO t VALUES (1, 7, 'a'), (2, 7, 'a')")
    clean(KEY, ignore=("at",))
    assert live(sql) == [1]


def test_every_column_can_be_ignored(sql, clean):
    """If the rule ignores every column, every group is exact."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v text); INSERT INTO t VALUES (1, 7, 'a'), (2, 7, 'b')")
    clean(KEY, ignore=("k", "v"))
    assert live(sql) == [1]


# Batches, archive, ledger


def test_a_batch_is_limited_by_rows_h13_h18(sql, clean, unhurried):
    """A key with 3,000 rows takes several transactions, none of them larger than the batch size."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t SELECT i, 7 FROM generate_series(1, 3000) AS i")
    batches = clean(KEY, batch_size=500)
    assert (500, 2999) == (max(b.archived for b in batches), sum(b.archived for b in batches))
    assert (batches[-1].done, batches[-1].total) == (2999, 2999)
    assert live(sql) == [1]
    assert sql("SELECT count(DISTINCT xmin::text) FROM dupe_audit.archive_1") == [(len(batches),)]


def test_archive_has_the_columns_of_the_table(sql, clean):
    """The archive has the table's columns and types without NOT NULL, followed by its own columns."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k numeric(5, 2) NOT NULL, v varchar(9)[], at timestamptz(3) NOT NULL)")
    sql("INSERT INTO t SELECT i, 1.5, '{a}', '2024-01-01' FROM generate_series(1, 2) AS i")
    clean(KEY)
    columns = sql(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = 'dupe_audit.archive_1'::regclass AND attnum > 0 ORDER BY attnum"
    )
    assert columns[:4] == [
        ("id", "integer"),
        ("k", "numeric(5,2)"),
        ("v", "character varying(9)[]"),
        ("at", "timestamp(3) with time zone"),
    ]
    assert {name for name, _ in columns[4:]} == {
        "dupe_audit_survivor_1",
        "dupe_audit_batch",
        "dupe_audit_archived_at",
        "dupe_audit_restored_at",
        "dupe_audit_problem",
        "dupe_audit_id",
    }
    assert sql("SELECT relpersistence FROM pg_class WHERE oid = 'dupe_audit.archive_1'::regclass") == [("p",)]


def test_survivor_is_recorded(sql, clean):
    """Each archived row records its survivor and the batch that archived it."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 8), (3, 7), (4, 8), (5, 7)")
    clean(KEY, batch_size=2)
    archived = sql(
        "SELECT id, dupe_audit_survivor_1, dupe_audit_batch, dupe_audit_restored_at FROM dupe_audit.archive_1"
    )
    assert {3: 1, 4: 2, 5: 1} == {id_: survivor for id_, survivor, *_ in archived}
    assert {batch for _, _, batch, _ in archived} == {1, 2}
    assert {restored for *_, restored in archived} == {None}


def test_ledger_records_the_run(sql, clean):
    """The ledger records the key, the rule, the counts and each batch of a run."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 8), (3, 7), (4, 8), (5, 7)")
    clean(KEY, batch_size=2, keep="last", order_by=("id",))
    run = sql(
        "SELECT schema_name, table_name, key_columns, keep, order_by, divergent, batch_size, state, rows_before, "
        "groups, extras, archived, restored, finished_at IS NOT NULL FROM dupe_audit.run"
    )
    assert run == [("public", "t", ["k"], "last", ["id"], "refuse", 2, "clean", 5, 2, 3, 3, 0, True)]
    assert sql("SELECT number, archived, spared FROM dupe_audit.batch ORDER BY 1") == [(1, 2, 0), (2, 1, 0)]


def test_table_without_duplicates(sql, clean):
    """A run on a table without duplicates ends as clean, with an empty archive."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int)")
    assert clean(KEY) == []
    assert sql("SELECT state, archived FROM dupe_audit.run") == [("clean", 0)]


def test_only_ledger_and_archive_remain(sql, clean):
    """The staged list of rows is dropped at the end of the run."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7)")
    clean(KEY)
    tables = sql("SELECT relname FROM pg_class WHERE relnamespace = 'dupe_audit'::regnamespace AND relkind = 'r'")
    assert {row[0] for row in tables} == {"run", "batch", "child", "leaf", "archive_1"}


def test_archive_is_private_h129(sql, clean, member):
    """Default privileges that would open new tables to other roles do not open the archive."""
    sql(f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC, {member}")
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7)")
    clean(KEY)
    for table in ("archive_1", "run", "batch"):
        assert sql(f"SELECT has_table_privilege('{member}', 'dupe_audit.{table}', 'SELECT')") == [(False,)]


def test_invalid_work_mem_is_refused_before_the_run_begins(sql, conn):
    """A setting that the server does not accept is refused before the ledger is created."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7)")
    with pytest.raises(WrongUsage, match='invalid value for parameter "work_mem": "lots"'):
        list(cleanup(conn, KEY, CleanupRule(), work_mem="lots"))
    assert sql("SELECT to_regnamespace('dupe_audit')") == [(None,)]


# Stopping and continuing


def test_abandoned_generator_releases_the_lock(sql, conn, connect):
    """Closing the generator after a batch stops the run, and another connection can continue it."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t SELECT i, 7 FROM generate_series(1, 5) AS i")
    batches = cleanup(conn, KEY, ONE_BY_ONE)
    next(batches)
    batches.close()
    assert sql("SELECT state, archived FROM dupe_audit.run") == [("cleaning", 1)]

    later = list(cleanup(connect(), KEY, ONE_BY_ONE, give_up_after="1s"))
    assert [1, 1, 1] == [batch.archived for batch in later]
    assert sql("SELECT id, state, archived, rows_before FROM dupe_audit.run") == [(1, "clean", 4, 5)]
    assert archived(sql) == [2, 3, 4, 5]


def test_one_run_per_table_h6_h169(sql, conn, connect):
    """A second run on the same table waits for the first, and names its pid when it gives up."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t SELECT i, 7 FROM generate_series(1, 3) AS i")
    first = cleanup(conn, KEY, ONE_BY_ONE)
    next(first)
    pid = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    with pytest.raises(Blocked, match=rf"pid {pid}"):
        list(cleanup(connect(), KEY, ONE_BY_ONE, give_up_after="300ms"))
    assert [1] == [batch.archived for batch in first]
    assert live(sql) == [1]


def test_runs_on_two_tables_do_not_block_each_other(sql, conn, connect):
    """A run on one table does not block a run on another."""
    for table in ("t", "u"):
        sql(f"CREATE TABLE {table} (id int PRIMARY KEY, k int); INSERT INTO {table} VALUES (1, 7), (2, 7), (3, 7)")
    first = cleanup(conn, KEY, ONE_BY_ONE)
    next(first)
    other = UniqueKey(table="u", columns=("k",))
    assert [2] == [b.archived for b in cleanup(connect(), other, CleanupRule(), give_up_after="300ms")]
    first.close()


@pytest.mark.torture
def test_terminated_backend_loses_nothing_h191(sql, conn, connect):
    """If a backend is terminated between two batches, the next call continues its run."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t SELECT i, 7 FROM generate_series(1, 6) AS i")
    victim = connect()
    batches = cleanup(victim, KEY, ONE_BY_ONE)
    next(batches)
    next(batches)
    sql(f"SELECT pg_terminate_backend({victim.exec_driver_sql('SELECT pg_backend_pid()').scalar_one()})")
    with pytest.raises(DBAPIError):
        next(batches)
    assert sorted(live(sql) + archived(sql)) == [1, 2, 3, 4, 5, 6]

    assert sum(b.archived for b in cleanup(conn, KEY, CleanupRule())) == 3
    assert (live(sql), archived(sql)) == ([1], [2, 3, 4, 5, 6])
    assert sql("SELECT state, archived FROM dupe_audit.run") == [("clean", 5)]


@pytest.mark.torture
def test_server_crash_loses_nothing_h127(server, database_url, connect, psycopg_connect):
    """After a server crash between two batches, the table and the archive agree."""
    before = psycopg_connect(autocommit=True)
    before.execute("CREATE TABLE t (id int PRIMARY KEY, k int)")
    before.execute("INSERT INTO t SELECT i, 7 FROM generate_series(1, 6) AS i")
    batches = cleanup(connect(), KEY, ONE_BY_ONE)
    next(batches)
    server.crash()
    with pytest.raises(DBAPIError):
        next(batches)
    server.resume()

    list(cleanup(connect(), KEY, ONE_BY_ONE))
    after = psycopg_connect(autocommit=True)
    assert after.execute("SELECT id FROM t").fetchall() == [(1,)]
    assert after.execute("SELECT count(*), count(DISTINCT id) FROM dupe_audit.archive_1").fetchall() == [(5, 5)]


@pytest.mark.torture
@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.representatives("9")
def test_run_of_a_stopped_client_is_continued_h191(sql, conn, client, signal_number):
    """If a client is killed or interrupted in the middle of a run, the next call completes the run."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t SELECT i, 7 FROM generate_series(1, 50) AS i")
    process = client(
        "for batch in cleanup(conn, UniqueKey(table='t', columns=('k',)), CleanupRule(batch_size=1, pause=0.1)):\n"
        "    print(batch.done, flush=True)\n"
    )
    assert process.stdout
    process.stdout.readline()
    process.send_signal(signal_number)
    stderr = process.communicate(timeout=PATIENCE)[1]
    if signal_number != signal.SIGKILL:
        assert "Interrupted" in stderr
    # One snapshot, because the server may still commit the batch of a killed client.
    everywhere = sql("SELECT id FROM t UNION ALL SELECT id FROM dupe_audit.archive_1 ORDER BY id")
    assert [(number,) for number in range(1, 51)] == everywhere

    list(cleanup(conn, KEY, CleanupRule()))
    assert live(sql) == [1]
    assert sql("SELECT archived FROM dupe_audit.run") == [(49,)]


# Changes by other sessions between the ranking and a batch


@pytest.fixture
def between(sql, conn):
    """Start a run over rows 1, 2, 3 of key 7 and 4, 5 of key 8, execute SQL after its first batch, and finish it."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v text DEFAULT 'same')")
    sql("INSERT INTO t VALUES (1, 7), (2, 7), (3, 7), (4, 8), (5, 8)")

    def run(interference):
        batches = cleanup(conn, KEY, ONE_BY_ONE, give_up_after="3s")
        next(batches)
        sql(interference)
        list(batches)
        return sql("SELECT id, k FROM t ORDER BY id")

    return run


@pytest.mark.parametrize(
    ("interference", "remaining"),
    [
        ("DELETE FROM t WHERE id IN (1, 4)", [(3, 7), (5, 8)]),
        ("UPDATE t SET k = k + 100 WHERE id IN (1, 4)", [(1, 107), (3, 7), (4, 108), (5, 8)]),
        ("UPDATE t SET k = k + 100 WHERE id IN (3, 5)", [(1, 7), (3, 107), (4, 8), (5, 108)]),
        ("DELETE FROM t WHERE id IN (3, 5)", [(1, 7), (4, 8)]),
        ("UPDATE t SET id = id + 100 WHERE id IN (1, 4)", [(3, 7), (5, 8)]),
        ("UPDATE t SET id = id + 100 WHERE id IN (3, 5)", [(1, 7), (4, 8)]),
        ("INSERT INTO t VALUES (6, 7), (7, 9)", [(1, 7), (4, 8), (6, 7), (7, 9)]),
        ("DELETE FROM t WHERE id IN (1, 4); INSERT INTO t VALUES (1, 50), (4, 51)", [(1, 50), (3, 7), (4, 51), (5, 8)]),
    ],
    ids=[
        "survivor deleted",
        "survivor's key changed",
        "extra's key changed",
        "extra deleted",
        "survivor's id changed",
        "extra's id changed",
        "rows join",
        "survivor's id given to another key",
    ],
)
@pytest.mark.representatives("survivor deleted", "survivor's key changed", "extra's id changed", "rows join")
def test_every_key_keeps_a_row_h1_h21(between, interference, remaining):
    """A group that changed after the ranking is judged as it is now, so each key keeps one row."""
    assert remaining == between(interference)


def test_extra_that_becomes_divergent_is_refused_h21(sql, between):
    """An extra whose data changed after the ranking is no longer an exact copy, so it stays."""
    with pytest.raises(Refused, match="divergent-duplicates"):
        between("UPDATE t SET v = 'other' WHERE id = 5")
    assert live(sql) == [1, 4, 5]


def test_reused_position_loses_no_row_h7(sql, conn):
    """Without a primary key, a new row at the position of a staged row is not archived (H7)."""
    sql("CREATE TABLE t (id int, k int) WITH (autovacuum_enabled = off); INSERT INTO t VALUES (1, 7), (2, 7), (3, 7)")
    batches = cleanup(conn, KEY, CleanupRule(batch_size=1, ignore=("id",)))
    next(batches)
    sql("DELETE FROM t WHERE id = 3")
    sql("VACUUM t")
    sql("INSERT INTO t VALUES (100, 7777), (101, 7778)")
    list(batches)
    assert live(sql) == [1, 100, 101]


def test_survivor_that_changes_before_it_is_locked_h21(sql, conn, psycopg_connect, monkeypatch):
    """A survivor of several extras that is updated between a batch's snapshot and its lock still has all of them."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v int)")
    sql("INSERT INTO t SELECT id, 7, 0 FROM generate_series(1, 5) AS id")
    # The server evaluates it once, after it has taken the snapshot and before it locks the first row.
    monkeypatch.setattr(passes, "WHERE_STAGED", "(SELECT pg_catalog.pg_advisory_xact_lock(99)) IS NOT NULL")
    writer = psycopg_connect(autocommit=True)
    writer.execute("SELECT pg_advisory_lock(99)")
    with ThreadPoolExecutor() as pool:
        batches = pool.submit(list, cleanup(conn, KEY, CleanupRule(divergent="archive")))
        wait_for(lambda: sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 99 AND NOT granted"))
        writer.execute("UPDATE t SET v = 1 WHERE id = 1")
        writer.execute("SELECT pg_advisory_unlock(99)")
        assert [4] == [batch.archived for batch in batches.result()]
    assert ([1], [2, 3, 4, 5]) == (live(sql), archived(sql))


def test_updated_row_without_a_primary_key_is_judged_again(sql, conn):
    """Without a primary key, a staged row that was updated since is judged again in the next pass."""
    sql("CREATE TABLE t (id int, k int, v int DEFAULT 0); INSERT INTO t VALUES (1, 7), (2, 7), (3, 7)")
    batches = cleanup(conn, KEY, CleanupRule(batch_size=1, ignore=("id", "v")))
    next(batches)
    sql("UPDATE t SET v = 5 WHERE id = 3")
    list(batches)
    assert len(live(sql)) == 1
    assert sql("SELECT count(*) FROM dupe_audit.archive_1") == [(2,)]


@pytest.mark.parametrize("row", [1, 2], ids=["survivor", "extra"])
def test_group_with_a_locked_row_is_cleaned_later(sql, conn, psycopg_connect, row):
    """A group with a locked row is skipped without waiting, and a later pass cleans it."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7), (3, 8), (4, 8)")
    other = psycopg_connect()
    other.execute("SELECT FROM t WHERE id = %s FOR UPDATE", (row,))
    batches = cleanup(conn, KEY, CleanupRule(), give_up_after="10s")
    first = next(batches)
    assert (first.archived, first.spared) == (1, 1)
    assert live(sql) == [1, 2, 3]
    other.rollback()
    assert sum(batch.archived for batch in batches) == 1
    assert live(sql) == [1, 3]


def test_survivor_that_is_only_referenced_does_not_delay_its_group(sql, conn, psycopg_connect):
    """A survivor that an open transaction has locked as a new child's parent keeps its key, so its extras leave."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7)")
    other = psycopg_connect()
    other.execute("SELECT FROM t WHERE id = 1 FOR KEY SHARE")
    assert [1] == [batch.archived for batch in cleanup(conn, KEY, CleanupRule(), give_up_after="10s")]
    assert live(sql) == [1]


def test_extra_without_its_survivor_stays(sql, conn, psycopg_connect):
    """Of two extras of a group and one of another, only the one whose survivor could be locked too leaves at first."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7), (3, 7), (4, 8), (5, 8)")
    other = psycopg_connect()
    other.execute("SELECT FROM t WHERE id = 1 FOR NO KEY UPDATE")
    batches = cleanup(conn, KEY, CleanupRule(), give_up_after="10s")
    first = next(batches)
    assert (1, 2) == (first.archived, first.spared)
    assert [1, 2, 3, 4] == live(sql)
    other.rollback()
    list(batches)
    assert [1, 4] == live(sql)


def test_survivor_that_changes_is_locked_before_it_does(sql, conn, psycopg_connect):
    """A survivor that takes over values is skipped while another session shares a lock on it: no batch waits for it."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, n int); INSERT INTO t VALUES (1, 7, 10), (2, 7, 5)")
    other = psycopg_connect()
    other.execute("SELECT FROM t WHERE id = 1 FOR SHARE")
    rule = CleanupRule(merges=(Merge("n", "sum"),))
    batches = cleanup(conn, KEY, rule, lock_timeout="1h", give_up_after="10s")
    assert (0, 1) == ((first := next(batches)).archived, first.spared)
    other.rollback()
    list(batches)
    assert [(1, 15)] == sql("SELECT id, n FROM t")


def test_row_that_stays_locked_names_the_holder_h16(sql, conn, psycopg_connect):
    """A run that cannot continue reports how many rows remain and which session has locked them."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7)")
    other = psycopg_connect()
    other.execute("SELECT FROM t WHERE id = 2 FOR UPDATE")
    with pytest.raises(Blocked, match=rf"1 extra of .*pid {other.info.backend_pid}"):
        list(cleanup(conn, KEY, CleanupRule(), give_up_after="1s"))
    assert live(sql) == [1, 2]
    other.rollback()
    list(cleanup(conn, KEY, CleanupRule()))
    assert live(sql) == [1]


def test_table_that_stays_locked_names_the_holder(sql, conn, psycopg_connect):
    """A run retries a table that another session has locked, then gives up and names that session."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7), (3, 7)")
    batches = cleanup(conn, KEY, ONE_BY_ONE, lock_timeout="50ms", give_up_after="1s")
    next(batches)
    other = psycopg_connect()
    other.execute("LOCK t")
    with pytest.raises(Blocked, match=rf"pid {other.info.backend_pid}"):
        list(batches)
    other.rollback()
    assert live(sql) == [1, 3]


# Foreign keys, triggers and changes to the table


CHILD = "CREATE TABLE c (id int PRIMARY KEY, pid int REFERENCES t ON DELETE {action})"


@pytest.mark.parametrize("action", ["NO ACTION", "RESTRICT", "CASCADE", "SET NULL"])
@pytest.mark.representatives("RESTRICT", "CASCADE")
def test_referenced_extra_stays_h99_h100(sql, conn, action):
    """An extra that another table references is never deleted, whatever its foreign key does on delete."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7), (3, 7)")
    sql(CHILD.format(action=action) + "; INSERT INTO c VALUES (10, 2), (11, 1)")
    with pytest.raises(Refused, match="foreign-key-references"):
        list(cleanup(conn, KEY, CleanupRule(), give_up_after="300ms"))
    assert live(sql) == [1, 2, 3]
    assert sql("SELECT * FROM c ORDER BY id") == [(10, 2), (11, 1)]


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "still open"])
def test_child_inserted_during_a_run_keeps_its_parent_h103(sql, conn, psycopg_connect, committed):
    """A child inserted after the ranking keeps its parent, even while the child's transaction is still open."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7), (3, 7)")
    sql(CHILD.format(action="CASCADE"))
    batches = cleanup(conn, KEY, ONE_BY_ONE, give_up_after="500ms")
    next(batches)
    other = psycopg_connect()
    other.execute("INSERT INTO c VALUES (10, 3)")
    if committed:
        other.commit()
    with pytest.raises((Blocked, Refused)):
        list(batches)
    other.commit()
    assert live(sql) == [1, 3]
    assert sql("SELECT * FROM c") == [(10, 3)]


def test_composite_foreign_key_protects_its_row_h107(sql, clean):
    """A composite foreign key to columns other than the primary key protects the referenced row, too."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, a int, b text, UNIQUE (b, a))")
    sql("INSERT INTO t VALUES (1, 7, 1, 'x'), (2, 7, 2, 'x'), (3, 7, 3, 'x')")
    sql("CREATE TABLE c (x text, y int, FOREIGN KEY (x, y) REFERENCES t (b, a)); INSERT INTO c VALUES ('x', 3)")
    with pytest.raises(Refused, match=r"1 row of public\.c"):
        clean(KEY, divergent="archive")
    assert live(sql) == [1, 2, 3]


def test_table_that_references_itself(sql, clean):
    """If a table references itself, a row that is a parent stays, and a row that only has a parent is archived."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, up int REFERENCES t)")
    sql("INSERT INTO t VALUES (1, 7, NULL), (2, 7, 1), (3, 8, 1), (4, 8, 1)")
    clean(KEY, ignore=("up",))
    assert live(sql) == [1, 3]


def test_trigger_that_changes_children_is_named(sql, clean):
    """A trigger that changes rows of a referencing table stops the run at once and is named; nothing has changed."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t SELECT i, 7 FROM generate_series(1, 9) AS i")
    sql("CREATE TABLE c (id int PRIMARY KEY, n int, t_id int REFERENCES t ON DELETE SET NULL)")
    sql("INSERT INTO c VALUES (1, 0, 1)")
    body = "BEGIN UPDATE c SET n = n + 1; RETURN OLD; END"
    sql(f"CREATE FUNCTION add_one() RETURNS trigger LANGUAGE plpgsql AS '{body}'")
    sql("CREATE TRIGGER counting BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION add_one()")
    with pytest.raises(DupeAuditError, match="Most likely trigger counting did it"):
        clean(KEY)
    assert live(sql) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert [(1, 0, 1)] == sql("SELECT * FROM c")
    assert archived(sql) == []


def test_trigger_that_suppresses_deletes_is_an_error_h15_h109(sql, clean):
    """A trigger that suppresses the delete stops the run, and no row is lost or archived twice."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7)")
    sql("CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    sql("CREATE TRIGGER keep BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION keep()")
    with pytest.raises(DupeAuditError, match="checked 1 extra, but deleted 0"):
        clean(KEY)
    assert live(sql) == [1, 2]
    assert archived(sql) == []


def test_column_added_during_a_run(sql, conn, clean, dump):
    """A new column stops the run with an explanation; the next call continues and archives the new column as well."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7), (3, 7)")
    before = dump("t")
    batches = cleanup(conn, KEY, ONE_BY_ONE)
    next(batches)
    sql("ALTER TABLE t ADD COLUMN extra text DEFAULT 'new'")
    with pytest.raises(DupeAuditError, match="columns or a foreign key to it changed"):
        list(batches)
    assert live(sql) == [1, 3]

    clean(KEY)
    assert sql("SELECT id, extra FROM dupe_audit.archive_1 ORDER BY id") == [(2, "new"), (3, "new")]
    assert live(sql) == [1]
    assert before != dump("t")


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE t DROP COLUMN v",
        "ALTER TABLE t RENAME COLUMN v TO w",
        "ALTER TABLE t ALTER COLUMN v TYPE varchar(9)",
    ],
    ids=["dropped", "renamed", "another type"],
)
def test_column_changed_during_a_run_h70(sql, conn, change):
    """A column that is dropped, renamed or given another type stops the run before any value is lost."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v text DEFAULT 'x'); INSERT INTO t VALUES (1, 7), (2, 7), (3, 7)")
    batches = cleanup(conn, KEY, ONE_BY_ONE)
    next(batches)
    sql(change)
    with pytest.raises((DupeAuditError, DBAPIError)):
        list(batches)
    assert live(sql) == [1, 3]


def test_table_replaced_during_a_run_h69(sql, conn):
    """A table that replaced another of the same name is not cleaned with the list of the old one."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7), (3, 7)")
    batches = cleanup(conn, KEY, ONE_BY_ONE)
    next(batches)
    sql("ALTER TABLE t RENAME TO old; CREATE TABLE t (LIKE old); INSERT INTO t SELECT * FROM old")
    with pytest.raises((DupeAuditError, DBAPIError)):
        list(batches)
    assert live(sql) == [1, 3]


# Names


NAMES = [
    'quo"te',
    "per%cent %s %(x)s",
    "col:on :x",
    "do.t",
    "sp ace",
    "{table}",
    "{columns} {batch}",
    "apo'strophe",
    "back\\slash",
    "$dupe_audit$",
    "Ünïcödé 表",
    "select",
    "UPPER",
    "x" * 63,
    "é" * 31,
    "new\nline",
    "-- comment",
    "t",
    "e",
    "c",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.representatives("per%cent %s %(x)s")
def test_every_valid_name_is_accepted_h157_h198(sql, there_and_back, name):
    """Every name that PostgreSQL accepts works for the schema, the table, the columns and the constraint."""
    quoted = '"' + name.replace('"', '""') + '"'
    sql(f"CREATE SCHEMA {quoted}")
    sql(f'CREATE TABLE {quoted}.{quoted} (id int PRIMARY KEY, {quoted} text, "order" int)')
    sql(f"INSERT INTO {quoted}.{quoted} VALUES (1, 'a', 1), (2, 'a', 1), (3, 'b', 1)")
    constraint = "uq" if name in ("x" * 63, "t") else name[:25] + " uq"
    key = UniqueKey(schema=name, table=name, columns=(name, "order"), name=constraint)
    assert there_and_back(key, order_by=(name, "id")) == 1


def test_any_name_in_a_foreign_key(sql, clean):
    """A child table and its columns can have any name as well."""
    sql('CREATE TABLE t ("{e} %s" int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7), (3, 7)')
    sql('CREATE TABLE "c %(x)s {child}" (":p" int REFERENCES t); INSERT INTO "c %(x)s {child}" VALUES (2)')
    with pytest.raises(Refused, match="foreign-key-references"):
        clean(KEY)
    assert sql("SELECT * FROM t ORDER BY 1") == [(1, 7), (2, 7), (3, 7)]


def test_same_table_name_in_two_schemas_h158(sql, conn):
    """With a schema, only that table is cleaned; without one, only the first table on the search path."""
    for schema in ("a", "b"):
        sql(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.t (id int PRIMARY KEY, k int)")
        sql(f"INSERT INTO {schema}.t VALUES (1, 7), (2, 7)")
    list(cleanup(conn, UniqueKey(schema="b", table="t", columns=("k",)), CleanupRule()))
    assert sql("SELECT (SELECT count(*) FROM a.t), (SELECT count(*) FROM b.t)") == [(2, 1)]

    conn.exec_driver_sql("SET search_path = b, a")
    list(cleanup(conn, KEY, CleanupRule()))
    assert sql("SELECT (SELECT count(*) FROM a.t), (SELECT count(*) FROM b.t)") == [(2, 1)]
    conn.exec_driver_sql("SET search_path = a, b")
    list(cleanup(conn, KEY, CleanupRule()))
    assert sql("SELECT (SELECT count(*) FROM a.t), (SELECT count(*) FROM b.t)") == [(1, 1)]


# Settings


@pytest.mark.parametrize(
    "settings",
    [
        {"default_transaction_isolation": "repeatable read"},
        {"default_transaction_isolation": "serializable"},
        {"statement_timeout": "1s"},
        {"lock_timeout": "1ms"},
        {"idle_in_transaction_session_timeout": "5s"},
        {"row_security": "off"},
        {"search_path": ""},
        {"default_transaction_deferrable": "on"},
        {"standard_conforming_strings": "off"},
        {"client_encoding": "LATIN1"},
        {"bytea_output": "escape"},
        {"default_tablespace": "pg_default"},
        {"work_mem": "64kB"},
        {"plan_cache_mode": "force_generic_plan"},
        {"enable_nestloop": "off"},
        {"enable_tidscan": "off"},
    ],
    ids=lambda settings: "=".join(*settings.items()),
)
@pytest.mark.representatives(
    "default_transaction_isolation=serializable",
    "statement_timeout=1s",
    "search_path=",
    "standard_conforming_strings=off",
    "enable_nestloop=off",
)
def test_defaults_of_the_role_change_nothing_h19_h79(sql, connect, settings):
    """Settings of a role, a database or a URL do not change the outcome."""
    if "standard_conforming_strings" in settings and sql("SHOW server_version_num")[0][0] >= "190000":
        pytest.skip("it can only be on")
    sql(r"CREATE TABLE t (id int PRIMARY KEY, k text); INSERT INTO t VALUES (1, 'a\b'), (2, 'a\b'), (3, 'a\b')")
    key = UniqueKey(schema="public", table="t", columns=("k",))
    if "statement_timeout" in settings:
        sql("CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1.1); RETURN NULL; END'")
        sql("CREATE TRIGGER nap AFTER DELETE ON t FOR EACH STATEMENT EXECUTE FUNCTION nap()")
    first = list(cleanup(connect(**settings), key, ONE_BY_ONE))
    assert [1, 1] == [batch.archived for batch in first]
    assert live(sql) == [1]


def test_session_settings_are_restored(sql, conn, clean):
    """A cleanup leaves the session's settings as they were."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7)")
    query = "SELECT name, setting FROM pg_settings ORDER BY name"
    before = {row.name: row.setting for row in conn.exec_driver_sql(query)}
    clean(KEY)
    after = {row.name: row.setting for row in conn.exec_driver_sql(query)}  # PL/pgSQL may have added its own settings
    assert before == {name: after[name] for name in before}
    assert conn.exec_driver_sql("SELECT to_regclass('pg_temp.dupe_audit_locked')").scalar() is None


def test_connection_without_autocommit_is_refused(sql, engine):
    """A connection without autocommit is refused, and nothing is changed."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7)")
    with (
        engine.connect().execution_options(isolation_level="READ COMMITTED") as connection,
        pytest.raises(DupeAuditError, match="autocommit"),
    ):
        list(cleanup(connection, KEY, CleanupRule()))
    assert live(sql) == [1, 2]


def test_owner_needs_only_create_on_the_database(sql, connect, member):
    """The table's owner needs only CREATE on the database, and none of a superuser's rights."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7)")
    sql(f"ALTER TABLE t OWNER TO {member}; GRANT CREATE ON DATABASE {database(sql)} TO {member}")
    assert [1] == [batch.archived for batch in cleanup(connect(role=member), KEY, CleanupRule())]
    owners = sql(
        "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'dupe_audit'::regnamespace"
    )
    assert owners == [(member,)]


def database(sql):
    """Return the quoted name of the test's database."""
    return sql("SELECT quote_ident(current_database())")[0][0]


# Every type, and query plans


TYPES = {
    "json": """'{"b":1,  "a":1,"a":2}'""",
    "jsonb": '\'{"a": 1.00, "b": 1e-30}\'',
    "xml": "'<a  b=\"1\"/>'",
    "numeric": "'1.500'",
    "numeric(40, 20)": "12345678901234567890.12345678901234567890",
    "float4": "'-0.0'",
    "float8": "'NaN'",
    "interval": "'1 mon 25:00'",
    "timestamptz": "'infinity'",
    "timestamp": "'0044-03-15 12:00:00 BC'",
    "date": "'-infinity'",
    "timetz": "'24:00:00+05:30'",
    "int[]": "'[0:1]={1,2}'",
    "text[]": """'{"a,b",NULL,"NULL",""}'""",
    "bytea": r"'\x00ff5c27'",
    "bit varying": "'10101'",
    "char(7)": "'ab '",
    '"char"': "'x'",
    "name": "'n'",
    "uuid": "'00000000-0000-0000-0000-000000000001'",
    "inet": "'10.0.0.1/8'",
    "macaddr8": "'08:00:2b:01:02:03:04:05'",
    "money": "'12.34'",
    "point": "'(1,2)'",
    "polygon": "'((0,0),(1,1),(1,0))'",
    "tsvector": "'a:1A b:2'",
    "tsquery": "'a & !b'",
    "int4range": "'[1,3)'",
    "nummultirange": "'{[1.0,2.00), (5,)}'",
    "hstore": """'a=>NULL, b=>"x y"'""",
    "citext": "'MiXed'",
    "pg_lsn": "'16/B374D848'",
    "mood": "'sad'",
    "pair": """ROW(1, 'x "y"')::pair""",
    "positive": "5",
    "oid": "4294967295",
    "jsonpath": "'$.a[*] ? (@ > 1)'",
    "text": r"E'line\nbreak\ttab \\ \u00e9 e\u0301'",
}


def has_xml(sql):
    """Return whether the server was built with XML support."""
    try:
        return bool(sql("SELECT '<a/>'::xml::text"))
    except psycopg.errors.FeatureNotSupported:
        return False


def test_every_type_is_restored_unchanged_h120_h121(sql, there_and_back):
    """Values of every type are archived and restored byte for byte."""
    sql("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (n int, s text)")
    sql("CREATE DOMAIN positive AS int NOT NULL CHECK (VALUE > 0)")
    types = {type_: value for type_, value in TYPES.items() if type_ != "xml" or has_xml(sql)}
    columns = ", ".join(f"c{n} {type_}" for n, type_ in enumerate(types))
    values = ", ".join(types.values())
    sql(f"CREATE TABLE t (id int PRIMARY KEY, k int, {columns})")
    sql(f"INSERT INTO t SELECT i, 7, {values} FROM generate_series(1, 3) AS i")
    assert there_and_back(UniqueKey(table="t", columns=("k",), name="uq")) == 2


def test_generated_and_identity_columns_are_restored(sql, there_and_back):
    """Generated columns and identity columns keep their values."""
    sql("CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k int,"
        " twice int GENERATED ALWAYS AS (k * 2) STORED, n int GENERATED BY DEFAULT AS IDENTITY)")  # fmt: skip
    sql("INSERT INTO t (k) VALUES (7), (7), (7)")
    assert there_and_back(UniqueKey(table="t", columns=("twice",), name="uq"), ignore=("n",)) == 2


@pytest.mark.thorough
@pytest.mark.min_pg(18)
def test_virtual_columns_are_restored(sql, there_and_back):
    """A virtual column is archived with its value, and computed again after the restore."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, twice int GENERATED ALWAYS AS (k * 2) VIRTUAL)")
    sql("INSERT INTO t VALUES (1, 7), (2, 7)")
    assert there_and_back(UniqueKey(table="t", columns=("k",), name="uq")) == 1


@pytest.mark.thorough
def test_long_values_are_restored(sql, there_and_back):
    """Values stored out of line are archived whole, and copies of them are compared as equal."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v text, w text); ALTER TABLE t ALTER w SET STORAGE EXTERNAL")
    sql("INSERT INTO t SELECT i, 7, repeat('long ', 100000), repeat('wide ', 10000) FROM generate_series(1, 3) AS i")
    assert there_and_back(UniqueKey(table="t", columns=("k",), name="uq")) == 2


def test_dropped_columns_do_not_matter_h123(sql, there_and_back):
    """A table whose columns were dropped and added again is archived by column name, not by position (H123)."""
    sql("CREATE TABLE t (a text, id int PRIMARY KEY, b text, k int); INSERT INTO t VALUES ('A', 1, 'B', 7)")
    sql("ALTER TABLE t DROP COLUMN a; ALTER TABLE t ADD COLUMN a text; UPDATE t SET a = 'A'")
    sql("INSERT INTO t (id, a, b, k) VALUES (2, 'A', 'B', 7)")
    assert there_and_back(UniqueKey(table="t", columns=("k",), name="uq")) == 1
    assert sql("SELECT a, b FROM t WHERE id = 2") == [("A", "B")]


@pytest.mark.parametrize("analyzed", [True, False], ids=["analyzed", "never analyzed"])
@pytest.mark.parametrize("identity", ["id int PRIMARY KEY", "id int"], ids=["primary key", "no primary key"])
@pytest.mark.representatives("primary key-never analyzed", "no primary key-analyzed")
def test_no_batch_scans_the_table_h14(sql, conn, plans_of_a_batch, analyzed, identity):
    """Each batch finds its rows by primary key or by position, even without statistics."""
    sql(f"CREATE TABLE t ({identity}, k int, v text DEFAULT repeat('x', 50)) WITH (autovacuum_enabled = off)")
    sql("INSERT INTO t SELECT i, i % 40000 FROM generate_series(1, 50000) AS i")
    if analyzed:
        sql("ANALYZE t")
    plans = plans_of_a_batch(cleanup(conn, KEY, CleanupRule(batch_size=1000, ignore=("id",))))
    assert plans.count("LockRows") == 1
    assert plans.count("Delete on t") == 1
    assert "Seq Scan on t" not in plans


def test_cleanup_after_a_restore_is_a_new_run(sql, conn, clean):
    """After a restore, cleaning the same key starts a new run with its own archive."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7)")
    clean(KEY)
    list(restore(conn, 1))
    clean(KEY)
    assert [row[0] for row in sql("SELECT state FROM dupe_audit.run ORDER BY id")] == ["restored", "clean"]
    assert (archived(sql, 1), archived(sql, 2)) == ([2], [2])
    assert ledger.get_run(conn, 2)[0].archived == 1


def test_unknown_table_is_named(conn):
    """A table that does not exist is an error that names it."""
    with pytest.raises(DupeAuditError, match="'nowhere'"):
        list(cleanup(conn, UniqueKey(table="nowhere", columns=("k",)), CleanupRule()))


def test_application_never_waits_or_deadlocks_h17(sql, conn, psycopg_connect):
    """A transaction that locks rows in the opposite order neither waits for the cleanup nor deadlocks with it (H17)."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v int); INSERT INTO t VALUES (1, 7, 0), (2, 7, 0), (3, 7, 0)")
    other = psycopg_connect()
    other.execute("SET lock_timeout = '300ms'")
    other.execute("UPDATE t SET v = 0 WHERE id = 3")
    batches = cleanup(conn, KEY, ONE_BY_ONE, give_up_after="10s")
    next(batches)
    other.execute("UPDATE t SET v = 0 WHERE id = 1")
    other.commit()
    list(batches)
    assert live(sql) == [1]
    assert other.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
