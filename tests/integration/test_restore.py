"""Every archived row is restored unchanged, or stays archived and is reported."""

import logging
import signal
import threading

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.errors import Blocked, DupeAuditError, Refused
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres.locking import run_lock
from dupe_audit.restore import restore

KEY = UniqueKey(table="t", columns=("k",), name="uq")


@pytest.fixture
def cleaned(sql, conn, dump):
    """Clean a table so that rows 2, 3 and 4 are archived, and return its rows as they were before."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v text)")
    sql("INSERT INTO t VALUES (1, 7, 'a'), (2, 7, 'b'), (3, 7, 'c'), (4, 7, NULL)")
    before = dump("t")
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    return before


def problems(sql):
    """Return the archived rows that were not restored, with their reasons."""
    return sql(
        "SELECT id, dupe_audit_problem FROM dupe_audit.archive_1 WHERE dupe_audit_restored_at IS NULL ORDER BY id"
    )


def counts(sql):
    """Return the run's state and its archived and restored counts from the ledger."""
    return sql("SELECT state, archived, restored FROM dupe_audit.run WHERE id = 1")[0]


def test_rows_are_restored(sql, conn, dump, cleaned):
    """A restore puts back every row, marks it in the archive, and closes the run."""
    batches = list(restore(conn, 1, batch_size=2))
    assert cleaned == dump("t")
    assert [(2, 2, 3), (1, 3, 3)] == [(b.restored, b.done, b.total) for b in batches]
    assert problems(sql) == []
    assert counts(sql) == ("restored", 3, 3)


def test_second_restore_changes_nothing(conn, dump, cleaned):
    """A second restore finds nothing to do."""
    list(restore(conn, 1))
    assert list(restore(conn, 1)) == []
    assert cleaned == dump("t")


@pytest.mark.parametrize("kind", ["id int PRIMARY KEY", "id int"], ids=["primary key", "no primary key"])
def test_abandoned_restore_is_continued_h135(sql, conn, connect, dump, kind):
    """A restore that stopped halfway can be continued, and restores no row twice, with or without a primary key."""
    number = "i" if "KEY" in kind else "1"
    sql(f"CREATE TABLE t ({kind}, k int); INSERT INTO t SELECT {number}, 7 FROM generate_series(1, 9) AS i")
    before = dump("t")
    list(cleanup(conn, KEY, CleanupRule()))
    batches = restore(conn, 1, batch_size=3)
    next(batches)
    batches.close()
    assert counts(sql) == ("clean", 8, 3)
    assert [3, 2] == [batch.restored for batch in restore(connect(), 1, batch_size=3, give_up_after="1s")]
    assert before == dump("t")


@pytest.mark.thorough
@pytest.mark.torture
def test_killed_restore_is_continued_h135(sql, conn, client, dump, wait_until):
    """A restore whose client is killed between two rows can be continued where it stopped."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t SELECT i, 7 FROM generate_series(1, 60) AS i")
    before = dump("t")
    list(cleanup(conn, KEY, CleanupRule()))
    process = client(
        "import time\nfor b in restore(conn, 1, batch_size=1):\n    print(b.done, flush=True); time.sleep(0.05)\n"
    )
    assert process.stdout
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    list(restore(conn, 1, give_up_after="10s"))
    assert before == dump("t")
    assert counts(sql) == ("restored", 59, 59)


@pytest.mark.torture
def test_terminated_backend_loses_nothing(sql, connect, conn, dump, cleaned):
    """If the backend is terminated between two batches, the next restore completes the run."""
    victim = connect()
    batches = restore(victim, 1, batch_size=1)
    next(batches)
    sql(f"SELECT pg_terminate_backend({victim.exec_driver_sql('SELECT pg_backend_pid()').scalar_one()})")
    with pytest.raises(DBAPIError):
        next(batches)
    list(restore(conn, 1))
    assert cleaned == dump("t")


# Rows that cannot be restored


def test_taken_primary_key_is_reported_h131(sql, conn, dump, cleaned):
    """A row whose primary key is in use again stays archived with the reason, and all others are restored."""
    sql("INSERT INTO t VALUES (3, 50, 'new')")
    with pytest.raises(Refused, match="2 of 3 archived rows restored") as refusal:
        list(restore(conn, 1))
    assert [f.id for f in refusal.value.findings] == ["rows-not-restored"]
    assert len(problems(sql)) == 1
    id_, why = problems(sql)[0]
    assert id_ == 3
    assert why.startswith("23505: duplicate key value")
    assert counts(sql) == ("clean", 3, 2)

    sql("DELETE FROM t WHERE k = 50")
    list(restore(conn, 1))
    assert cleaned == dump("t")
    assert counts(sql) == ("restored", 3, 3)


def test_reason_contains_no_value_h200(sql, conn, cleaned):
    """The stored reason and the error contain no value of the row (H200)."""
    sql("ALTER TABLE t ADD CONSTRAINT secret UNIQUE (v); INSERT INTO t VALUES (50, 50, 'b')")
    with pytest.raises(Refused) as refusal:
        list(restore(conn, 1))
    assert "(b)" not in str(refusal.value)
    assert "(b)" not in problems(sql)[0][1]


def test_existing_constraint_is_reported(sql, conn, dump, cleaned):
    """While the constraint exists, no row can be restored, and trying loses nothing."""
    enforce(conn, KEY, BuildRule())
    with pytest.raises(Refused, match="3 archived rows"):
        list(restore(conn, 1))
    assert len(problems(sql)) == 3
    drop(conn, KEY, BuildRule())
    list(restore(conn, 1))
    assert cleaned == dump("t")


def test_deferred_constraint_is_reported(sql, conn, dump, cleaned):
    """A constraint that is checked only at commit is noticed, and the row that violates it is found."""
    sql("ALTER TABLE t ADD UNIQUE (v) DEFERRABLE INITIALLY DEFERRED; INSERT INTO t VALUES (50, 50, 'c')")
    with pytest.raises(Refused, match="2 of 3 archived rows restored"):
        list(restore(conn, 1))
    assert [id_ for id_, _ in problems(sql)] == [3]
    sql("DELETE FROM t WHERE id = 50")
    list(restore(conn, 1))
    assert cleaned == dump("t")


@pytest.mark.parametrize(
    "body",
    ["NEW.v := NEW.v || '!'; RETURN NEW", "RETURN CASE WHEN NEW.v = 'c' THEN NULL ELSE NEW END", "RAISE 'no'"],
    ids=["changes the row", "suppresses the insert", "raises"],
)
@pytest.mark.representatives("suppresses the insert")
def test_trigger_that_interferes_is_reported(sql, conn, dump, cleaned, body):
    """A row that a trigger changes or refuses does not count as restored, and is restored once the trigger is gone."""
    sql(f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {body}; END$$")
    sql("CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()")
    with pytest.raises(Refused, match="rows-not-restored"):
        list(restore(conn, 1))
    assert 3 in [id_ for id_, _ in problems(sql)]
    sql("DROP TRIGGER f ON t")
    list(restore(conn, 1))
    assert cleaned == dump("t")


def test_trigger_that_changes_some_rows_is_reported(sql, conn, dump, cleaned):
    """Rows between others that a trigger changes are found, and the others are restored."""
    sql("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.k := 8; RETURN NEW; END$$")
    sql("CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.id = 3) EXECUTE FUNCTION f()")
    with pytest.raises(Refused, match="2 of 3 archived rows restored"):
        list(restore(conn, 1))
    assert problems(sql) == [(3, "a trigger on the table changed the row or kept it out")]
    sql("DROP TRIGGER f ON t")
    list(restore(conn, 1))
    assert cleaned == dump("t")


def test_trigger_that_writes_the_same_value_does_not_matter(sql, conn, dump):
    """A value that a trigger stores in another form, but which PostgreSQL prints alike, counts as restored."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v int[])")
    sql("INSERT INTO t VALUES (1, 7, '{1}'), (2, 7, '{1,2}'), (3, 7, '{3}')")
    before = dump("t")
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    # A slice of an array with a NULL has room for a NULL, even if it has none.
    body = "SELECT (array_append(NEW.v, NULL))[:2] INTO NEW.v; RETURN NEW"
    sql(f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {body}; END$$")
    sql("CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.id = 2) EXECUTE FUNCTION f()")
    list(restore(conn, 1))
    assert before == dump("t")
    same_image = "SELECT record_image_eq(ROW(t.v), ROW(a.v)) FROM t JOIN dupe_audit.archive_1 a USING (id) ORDER BY id"
    assert sql(same_image) == [(False,), (True,)]


def test_no_batch_scans_the_archive(sql, conn):
    """The next rows and those of a batch are found by the archive's index, though it has no statistics."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v text DEFAULT repeat('x', 50))")
    sql("INSERT INTO t SELECT i, i % 100 FROM generate_series(1, 20000) AS i")
    list(cleanup(conn, KEY, CleanupRule(ignore=("id",))))
    plans = []

    def explain(_connection, cursor, statement, *_):
        if "archive_1" in statement and statement.startswith(("SELECT pg_catalog.min(", "WITH marked")):
            plans.append("\n".join(row[0] for row in cursor.connection.execute(f"EXPLAIN {statement}")))

    event.listen(conn, "before_cursor_execute", explain)
    batches = list(restore(conn, 1, batch_size=5000))
    assert len(plans) == 2 * len(batches) + 1
    assert [plan for plan in plans if "Seq Scan on archive_1" in plan or "Sort" in plan or "Nested Loop" in plan] == []


def test_new_check_constraint_is_reported(sql, conn, dump, cleaned):
    """A row that violates a constraint added since then stays in the archive."""
    sql("ALTER TABLE t ADD CHECK (v IS DISTINCT FROM 'c')")
    with pytest.raises(Refused, match="2 of 3 archived rows restored"):
        list(restore(conn, 1))
    assert problems(sql)[0][1].startswith("23514")


# Tables that have changed


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE t DROP COLUMN v",
        "ALTER TABLE t RENAME COLUMN v TO w",
        "ALTER TABLE t ALTER COLUMN v TYPE varchar(9)",
        "ALTER TABLE t ALTER COLUMN k TYPE bigint",
    ],
)
@pytest.mark.representatives("ALTER TABLE t DROP COLUMN v", "ALTER TABLE t ALTER COLUMN v*")
def test_column_that_would_lose_values_is_refused(sql, conn, cleaned, change):
    """If an archived column is missing or has another type, nothing is restored and the archive stays complete."""
    sql(change)
    with pytest.raises(DupeAuditError, match="Nothing was restored"):
        list(restore(conn, 1))
    assert [id_ for id_, _ in problems(sql)] == [2, 3, 4]
    assert counts(sql) == ("clean", 3, 0)


def test_new_column_takes_its_default(sql, conn, cleaned):
    """A column added since then has its default in restored rows."""
    sql("ALTER TABLE t ADD COLUMN n int; ALTER TABLE t ADD COLUMN d int DEFAULT 5")
    list(restore(conn, 1))
    assert sql("SELECT id, v, n, d FROM t WHERE id = 2") == [(2, "b", None, 5)]


def test_new_not_null_column_is_reported(sql, conn, cleaned):
    """A new column that is NOT NULL keeps rows in the archive until it has a default."""
    sql("ALTER TABLE t ADD COLUMN n int; UPDATE t SET n = 1; ALTER TABLE t ALTER COLUMN n SET NOT NULL")
    with pytest.raises(Refused, match="3 archived rows"):
        list(restore(conn, 1))
    assert {why[:5] for _, why in problems(sql)} == {"23502"}
    sql("ALTER TABLE t ALTER COLUMN n SET DEFAULT 1")
    list(restore(conn, 1))
    assert sql("SELECT count(*) FROM t") == [(4,)]


def test_columns_in_another_order(sql, conn, cleaned):
    """Values are restored by column name, whatever the order of the columns (H123)."""
    sql("ALTER TABLE t RENAME COLUMN k TO old; ALTER TABLE t ADD COLUMN k int; UPDATE t SET k = old")
    sql("ALTER TABLE t DROP COLUMN old")
    list(restore(conn, 1))
    assert sql("SELECT id, v, k FROM t WHERE id = 2") == [(2, "b", 7)]


def test_renamed_table_is_found(sql, conn, dump, cleaned):
    """A table that was renamed or moved to another schema is still found."""
    sql("CREATE SCHEMA s; ALTER TABLE t RENAME TO u; ALTER TABLE u SET SCHEMA s")
    list(restore(conn, 1))
    assert cleaned == dump("s", "u")


@pytest.mark.parametrize("replacement", ["SELECT 1", "CREATE TABLE t (id int PRIMARY KEY, k int, v text)"])
def test_dropped_table_is_an_error(sql, conn, cleaned, replacement):
    """If the table was dropped or replaced by another of its name, the error says where the archived rows are."""
    sql(f"DROP TABLE t; {replacement}")
    with pytest.raises(DupeAuditError, match="archive_1"):
        list(restore(conn, 1))
    assert len(problems(sql)) == 3


def test_purged_run_is_an_error(sql, conn, cleaned):
    """A purged run cannot be restored, and the error says when it was purged."""
    ledger.purge(conn, 1)
    assert sql("SELECT to_regclass('dupe_audit.archive_1')::text") == [(None,)]
    with pytest.raises(DupeAuditError, match="purged at"):
        list(restore(conn, 1))


@pytest.mark.parametrize(
    "lacking",
    [
        "DROP TABLE dupe_audit.child; ALTER TABLE dupe_audit.run DROP COLUMN on_reference",
        "ALTER TABLE dupe_audit.run DROP COLUMN campaign",
    ],
    ids=["children", "campaigns"],
)
def test_ledger_of_an_earlier_version(sql, conn, dump, cleaned, lacking):
    """A ledger of an earlier version is refused with the SQL that updates it, and then the restore works."""
    sql(lacking)
    with pytest.raises(DupeAuditError, match="earlier version") as refusal:
        list(restore(conn, 1))
    sql(str(refusal.value).partition("again: ")[2])
    list(restore(conn, 1))
    assert cleaned == dump("t")


def test_lost_archive_is_refused_h142(sql, conn, cleaned):
    """An archive that was dropped is reported as missing, not treated as empty."""
    sql("DROP TABLE dupe_audit.archive_1")
    with pytest.raises(Refused, match="archive-missing"):
        list(restore(conn, 1))
    assert counts(sql)[0] == "clean"


@pytest.mark.parametrize("action", [lambda conn: list(restore(conn, 7)), lambda conn: ledger.purge(conn, 7)])
def test_unknown_run_is_an_error(conn, cleaned, action):
    """A run that is not in the ledger is an error that names it."""
    with pytest.raises(DupeAuditError, match="no run 7"):
        action(conn)


def test_database_without_a_ledger(conn):
    """In a database without a ledger there is nothing to restore."""
    with pytest.raises(DupeAuditError, match="no run 1"):
        list(restore(conn, 1))


def test_locked_table_names_the_holder(sql, conn, psycopg_connect, dump, cleaned):
    """A restore retries a table that another session has locked, then gives up and names that session."""
    other = psycopg_connect()
    other.execute("LOCK t")
    signal.alarm(60)
    with pytest.raises(Blocked, match=rf"pid {other.info.backend_pid}"):
        list(restore(conn, 1, lock_timeout="50ms", give_up_after="500ms"))
    other.rollback()
    list(restore(conn, 1))
    assert cleaned == dump("t")


def test_restore_waits_for_a_cleanup(sql, conn, connect):
    """A cleanup and a restore of the same table do not run at the same time."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t SELECT i, 7 FROM generate_series(1, 4) AS i")
    batches = cleanup(conn, KEY, CleanupRule(batch_size=1))
    next(batches)
    with pytest.raises(Blocked, match="Another session"):
        list(restore(connect(), 1, give_up_after="300ms"))
    batches.close()


def test_table_renamed_while_a_restore_waits(sql, conn, connect, cleaned, dump, wait_until, caplog):
    """Rows go back into the table they came from, also if it is renamed while the restore waits for its turn."""
    caplog.set_level(logging.INFO, logger="alembic.dupe_audit")
    restored = []
    restorer = threading.Thread(target=lambda: restored.extend(restore(conn, 1)))
    with run_lock(connect(), sql("SELECT 't'::regclass::oid::bigint")[0][0]):
        restorer.start()
        wait_until(lambda: "waiting for another session" in caplog.text)
        sql("ALTER TABLE t RENAME TO renamed; CREATE TABLE t (LIKE renamed)")
    restorer.join()
    assert 3 == sum(batch.restored for batch in restored)
    assert ([], cleaned) == (dump("t"), dump("renamed"))


def test_half_done_cleanup_can_be_undone_h141(sql, conn, dump):
    """A run that stopped halfway can be restored (H141)."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t SELECT i, 7 FROM generate_series(1, 4) AS i")
    before = dump("t")
    batches = cleanup(conn, KEY, CleanupRule(batch_size=1))
    next(batches)
    batches.close()
    list(restore(conn, 1))
    assert before == dump("t")


@pytest.mark.parametrize("end", [lambda conn: list(restore(conn, 1)), lambda conn: ledger.purge(conn, 1)])
def test_list_of_a_killed_cleanup_is_dropped(sql, conn, cleaned, end):
    """A restore or a purge drops the list that a killed cleanup left behind."""
    sql("CREATE TABLE dupe_audit.stage_1 (n bigint)")
    end(conn)
    assert sql("SELECT to_regclass('dupe_audit.stage_1')") == [(None,)]


def test_sequences_are_left_alone_h146(sql, conn, dump):
    """A restore keeps the rows' identity values and takes none from the sequence (H146)."""
    sql("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k int)")
    sql("INSERT INTO t (k) VALUES (7), (7), (7)")
    list(cleanup(conn, KEY, CleanupRule()))
    list(restore(conn, 1))
    assert sql("INSERT INTO t (k) VALUES (8) RETURNING id") == [(4,)]


@pytest.mark.parametrize(
    "settings",
    [
        {"lock_timeout": "1ms"},
        {"default_transaction_isolation": "serializable"},
        {"search_path": ""},
        {"extra_float_digits": "-15"},
        {"DateStyle": "SQL"},
    ],
    ids=lambda settings: "=".join(*settings.items()),
)
@pytest.mark.representatives("lock_timeout=1ms")
def test_defaults_of_the_role_change_nothing(sql, connect, dump, settings):
    """Settings of a role, a database or a URL do not change what is restored."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, f float8, d date)")
    sql("INSERT INTO t SELECT i, 7, 0.1 + 0.2, '2024-01-13' FROM generate_series(1, 3000) AS i")
    before = dump("t")
    connection = connect(**settings)
    list(cleanup(connect(), KEY, CleanupRule()))
    list(restore(connection, 1))
    assert before == dump("t")
