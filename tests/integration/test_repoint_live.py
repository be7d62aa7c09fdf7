"""Children move while the application changes them, and while programs are killed."""

import signal
import threading

import pytest

from dupe_audit.cleanup import cleanup
from dupe_audit.errors import Blocked, DupeAuditError, Refused
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.restore import restore
from waiting import PATIENCE

KEY = UniqueKey(table="t", columns=("k",))
ONE_BY_ONE = CleanupRule(references="repoint", batch_size=1)
TABLES = """
CREATE TABLE t (id int PRIMARY KEY, k int);
CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t ON DELETE CASCADE, note text);
INSERT INTO t VALUES (1, 7), (2, 7), (3, 7), (4, 8), (5, 8);
INSERT INTO c VALUES (10, 2, 'a'), (11, 3, 'b'), (12, 5, 'c');
"""


def live(sql):
    """Return the ids of the rows in the table."""
    return [row[0] for row in sql("SELECT id FROM t ORDER BY id")]


def children(sql):
    """Return the children with the rows that they reference."""
    return sql("SELECT id, t_id FROM c ORDER BY id")


def test_locked_child_spares_its_parent(sql, conn, psycopg_connect):
    """The cleanup does not wait for a locked child, and its parent stays until a later pass takes both."""
    sql(TABLES)
    other = psycopg_connect()
    other.execute("UPDATE c SET note = 'changed' WHERE id = 10")
    batches = cleanup(conn, KEY, CleanupRule(references="repoint"), give_up_after="10s")
    first_pass = [next(batches), next(batches)]
    sums = [sum(getattr(batch, field) for batch in first_pass) for field in ("archived", "spared", "repointed")]
    assert [2, 1, 2] == sums
    assert [1, 2, 4] == live(sql)
    assert [(10, 2), (11, 1), (12, 4)] == children(sql)
    other.commit()
    list(batches)
    assert [1, 4] == live(sql)
    assert [(10, 1, "changed")] == sql("SELECT * FROM c WHERE id = 10")


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "still open"])
def test_child_inserted_during_a_run_follows(sql, conn, psycopg_connect, committed):
    """A child inserted after the ranking follows the survivor once its transaction has ended (H103)."""
    sql(TABLES)
    batches = cleanup(conn, KEY, ONE_BY_ONE, give_up_after="10s")
    next(batches)
    other = psycopg_connect()
    other.execute("INSERT INTO c VALUES (13, 3, 'new')")
    if committed:
        other.commit()
    second = next(batches)
    assert ((1, 2) if committed else (0, 0)) == (second.archived, second.repointed)
    other.commit()
    list(batches)
    assert [1, 4] == live(sql)
    assert [(10, 1), (11, 1), (12, 4), (13, 1)] == children(sql)


@pytest.mark.parametrize(
    ("interference", "expected"),
    [
        ("UPDATE c SET t_id = 4 WHERE id = 11", [(10, 1), (11, 4), (12, 4)]),
        ("UPDATE c SET t_id = 3 WHERE id = 12", [(10, 1), (11, 1), (12, 1)]),
        ("DELETE FROM c WHERE id = 11", [(10, 1), (12, 4)]),
        ("UPDATE t SET k = 9 WHERE id = 3", [(10, 1), (11, 3), (12, 4)]),
        ("UPDATE t SET k = 9 WHERE id = 1", [(10, 1), (11, 3), (12, 4)]),
        ("DELETE FROM c WHERE t_id = 1; DELETE FROM t WHERE id = 1", [(11, 3), (12, 4)]),
        ("UPDATE c SET id = 21 WHERE id = 11", [(10, 1), (12, 4), (21, 1)]),
    ],
    ids=[
        "pointed elsewhere",
        "pointed at an extra",
        "deleted",
        "extra's key changed",
        "survivor's key changed",
        "survivor deleted",
        "child's id changed",
    ],
)
@pytest.mark.representatives("pointed at an extra", "survivor's key changed", "survivor deleted")
def test_changes_between_ranking_and_batch(sql, conn, interference, expected):
    """A child moves only in the transaction that archives its parent, and both are judged as they are then."""
    sql(TABLES)
    batches = cleanup(conn, KEY, ONE_BY_ONE, give_up_after="5s")
    next(batches)
    sql(interference)
    list(batches)
    assert expected == children(sql)
    assert [] == sql("SELECT id FROM c WHERE NOT EXISTS (SELECT FROM t WHERE t.id = c.t_id)")


def test_child_that_stays_locked_is_an_error(sql, conn, psycopg_connect):
    """A cleanup that a locked child blocks gives up in time, and can be continued later."""
    sql(TABLES)
    other = psycopg_connect()
    other.execute("SELECT FROM c WHERE id = 10 FOR UPDATE")
    with pytest.raises(Blocked, match="1 extra of"):
        list(cleanup(conn, KEY, CleanupRule(references="repoint"), give_up_after="1s"))
    assert [1, 2, 4] == live(sql)
    other.rollback()
    list(cleanup(conn, KEY, CleanupRule(references="repoint")))
    assert [(10, 1), (11, 1), (12, 4)] == children(sql)


def test_child_changed_by_the_application_is_not_returned(sql, conn, caplog):
    """A restore leaves children alone that were deleted or pointed elsewhere since, and reports how many."""
    sql(TABLES)
    list(cleanup(conn, KEY, CleanupRule(references="repoint")))
    sql("DELETE FROM c WHERE id = 10; UPDATE c SET t_id = 1, note = 'by the application' WHERE id = 12")
    sql("UPDATE c SET note = 'also' WHERE id = 11")
    batches = list(restore(conn, 1))
    assert [(11, 3), (12, 1)] == children(sql)
    assert (1, 2) == (sum(batch.repointed for batch in batches), batches[-1].spared + batches[-2].spared)
    assert "2 rows of public.c (c_t_id_fkey) not pointed back: see" in caplog.text
    assert [("restored", 3)] == sql("SELECT state, restored FROM dupe_audit.run")


@pytest.mark.parametrize("references", ["refuse", "repoint"])
@pytest.mark.parametrize("action", ["NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT"])
@pytest.mark.representatives("NO ACTION-repoint", "CASCADE-refuse")
def test_child_of_a_writer_without_locks_that_arrives_during_the_delete_h103(
    sql, conn, psycopg_connect, wait_until, references, action
):
    """A child committed while its parent is being deleted is neither deleted nor changed, whatever the action."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t SELECT i, i % 2 FROM generate_series(1, 8) AS i")
    sql(f"CREATE TABLE c (id int PRIMARY KEY, t_id int DEFAULT 1 REFERENCES t ON DELETE {action})")
    body = "BEGIN PERFORM pg_advisory_xact_lock(99); RETURN OLD; END"
    sql(f"CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS '{body}'")
    sql("CREATE TRIGGER wait BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION wait()")
    stranger = psycopg_connect(autocommit=True)
    stranger.execute("SET session_replication_role = replica")
    stranger.execute("SELECT pg_advisory_lock(99)")

    def arrive():
        wait_until(lambda: sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 99 AND NOT granted"))
        stranger.execute("INSERT INTO c SELECT 10 + id, id FROM t WHERE id > 2")
        stranger.execute("SELECT pg_advisory_unlock(99)")

    thread = threading.Thread(target=arrive)
    thread.start()
    if references == "refuse":
        with pytest.raises(Refused, match=rf"referenced by 6 rows of public.c \(c_t_id_fkey, ON DELETE {action}"):
            list(cleanup(conn, KEY, CleanupRule()))
    else:
        assert 6 == sum(batch.archived for batch in cleanup(conn, KEY, CleanupRule(references="repoint")))
    thread.join()
    expected = [(10 + i, i if references == "refuse" else 2 - i % 2) for i in range(3, 9)]
    assert expected == sql("SELECT * FROM c ORDER BY id")
    list(restore(conn, 1))
    assert [(10 + i, i) for i in range(3, 9)] == sql("SELECT * FROM c ORDER BY id")
    assert [(8,)] == sql("SELECT count(*) FROM t")


@pytest.mark.thorough
def test_child_that_is_moved_to_another_partition_does_not_stop_a_restore(sql, client, psycopg_connect, wait_until):
    """If a child moves to another partition while it is pointed back, all others go back; it counts as changed."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7), (3, 7)")
    sql("CREATE TABLE c (id int, area int, t_id int REFERENCES t, PRIMARY KEY (id, area)) PARTITION BY LIST (area)")
    sql("CREATE TABLE c1 PARTITION OF c FOR VALUES IN (1); CREATE TABLE c2 PARTITION OF c DEFAULT")
    sql("INSERT INTO c VALUES (10, 1, 2), (11, 1, 3), (12, 1, 3)")
    key = 'UniqueKey(table="t", columns=("k",))'
    process = client(f'list(cleanup(conn, {key}, CleanupRule(references="repoint")))')
    assert 0 == process.wait(60), process.communicate()
    mover = psycopg_connect()
    mover.execute("UPDATE c SET area = 2 WHERE id = 11")
    process = client('list(restore(conn, 1, lock_timeout="1min"))')
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'WITH chosen%'"
    wait_until(lambda: sql(waiting))
    mover.commit()
    assert 0 == process.wait(60), process.communicate()
    assert [(10, 1, 2), (11, 2, 1), (12, 1, 3)] == sql("SELECT * FROM c ORDER BY id")
    assert [("restored",)] == sql("SELECT state FROM dupe_audit.run")


def test_child_that_cannot_return_is_reported(sql, conn):
    """A child that cannot return keeps the reason while all others return, and returns once the cause is gone."""
    sql(TABLES + "ALTER TABLE c ADD UNIQUE (t_id, note)")
    list(cleanup(conn, KEY, CleanupRule(references="repoint")))
    batches = restore(conn, 1, batch_size=3)
    next(batches)
    sql("INSERT INTO c VALUES (20, 3, 'b')")
    with pytest.raises(Refused, match=r"\[children-not-returned\] .* 1 child that"):
        list(batches)
    assert [(10, 2), (11, 1), (12, 5), (20, 3)] == children(sql)
    problem = sql("SELECT i1, dupe_audit_problem FROM dupe_audit.children_1_1 WHERE dupe_audit_returned_at IS NULL")
    assert [(11, '23505: duplicate key value violates unique constraint "c_t_id_note_key"')] == problem
    assert [("clean",)] == sql("SELECT state FROM dupe_audit.run")

    sql("DELETE FROM c WHERE id = 20")
    list(restore(conn, 1))
    assert [(10, 2), (11, 3), (12, 5)] == children(sql)
    assert [("restored",)] == sql("SELECT state FROM dupe_audit.run")


def test_child_of_a_row_that_stays_archived_keeps_the_survivor(sql, conn):
    """Children of a row that stays archived keep the survivor as their parent, until a later restore returns both."""
    sql(TABLES)
    list(cleanup(conn, KEY, CleanupRule(references="repoint")))
    sql("ALTER TABLE t ADD CONSTRAINT no_three CHECK (id <> 3) NOT VALID")
    with pytest.raises(Refused, match=r"\[rows-not-restored\] .* 1 row that"):
        list(restore(conn, 1))
    assert [(10, 2), (11, 1), (12, 5)] == children(sql)

    sql("ALTER TABLE t DROP CONSTRAINT no_three")
    list(restore(conn, 1))
    assert [(10, 2), (11, 3), (12, 5)] == children(sql)


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("ALTER TABLE c RENAME COLUMN t_id TO parent; ALTER TABLE c RENAME TO d", "d"),
        ("ALTER TABLE c DROP CONSTRAINT c_t_id_fkey; ALTER TABLE c ADD FOREIGN KEY (t_id) REFERENCES t", "c"),
        ("ALTER TABLE c RENAME TO d; CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t)", "d"),
    ],
    ids=["renamed", "another foreign key", "another table of the same name"],
)
@pytest.mark.representatives("another table of the same name")
def test_child_table_that_changed_is_found_again(sql, conn, change, table):
    """A restore finds the children even if names have changed or the foreign key was re-created."""
    sql(TABLES)
    list(cleanup(conn, KEY, CleanupRule(references="repoint")))
    sql(change)
    list(restore(conn, 1))
    assert [(10, 2), (11, 3), (12, 5)] == [row[:2] for row in sql(f"SELECT * FROM {table} ORDER BY id")]


def test_dropped_child_table_is_reported(sql, conn, caplog):
    """Children that were dropped with their table are reported, and the rows of the parent table are restored."""
    sql(TABLES)
    list(cleanup(conn, KEY, CleanupRule(references="repoint")))
    sql("DROP TABLE c")
    list(restore(conn, 1))
    assert [1, 2, 3, 4, 5] == live(sql)
    assert "3 rows of public.c (c_t_id_fkey) not pointed back" in caplog.text


@pytest.mark.parametrize("references", ["refuse", "repoint"])
def test_foreign_key_added_during_a_run_stops_it(sql, conn, references):
    """A foreign key added between two batches rolls back the next batch, and no child is lost (H99)."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7), (3, 7)")
    sql("CREATE TABLE c (id int PRIMARY KEY, t_id int); INSERT INTO c VALUES (10, 3)")
    batches = cleanup(conn, KEY, CleanupRule(references=references, batch_size=1))
    next(batches)
    sql("ALTER TABLE c ADD FOREIGN KEY (t_id) REFERENCES t ON DELETE CASCADE")
    with pytest.raises(DupeAuditError, match="a foreign key to it"):
        list(batches)
    assert ([1, 3], [(10, 3)]) == (live(sql), children(sql))
    list(cleanup(conn, KEY, CleanupRule(references="repoint")))
    assert ([1], [(10, 1)]) == (live(sql), children(sql))


@pytest.mark.thorough
@pytest.mark.torture
def test_killed_cleanup_and_restore_are_continued(sql, client, conn, dump):
    """If a cleanup and a restore are killed and then continued, parents and children are as they were before."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t)")
    sql(
        "INSERT INTO t SELECT i, i % 2 FROM generate_series(1, 40) AS i;"
        "INSERT INTO c SELECT i, i FROM generate_series(1, 40) AS i"
    )
    before = dump("t"), dump("c")
    rule = "references='repoint', batch_size=2, pause=0.05"
    process = client(
        f"for batch in cleanup(conn, UniqueKey(table='t', columns=('k',)), CleanupRule({rule})):\n"
        "    print(batch.done, flush=True)\n"
    )
    assert process.stdout
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    assert [] == sql("SELECT id FROM c WHERE NOT EXISTS (SELECT FROM t WHERE t.id = c.t_id)")
    list(cleanup(conn, KEY, CleanupRule(references="repoint")))
    assert ([1, 2], [(1,), (2,)]) == (live(sql), sql("SELECT DISTINCT t_id FROM c ORDER BY 1"))

    process = client(
        "import time\nfor batch in restore(conn, 1, batch_size=10):\n    print(1, flush=True); time.sleep(0.1)\n"
    )
    assert process.stdout
    for _ in range(5):  # four batches restore the rows, then the children follow
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    list(restore(conn, 1))
    assert before == (dump("t"), dump("c"))
