"""Hard cases F: others add children without locks, or move rows to other partitions, in the middle of a batch."""

from collections.abc import Callable

import pytest

from dupe_audit import children
from dupe_audit.cleanup import batches, cleanup
from dupe_audit.errors import Refused
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.preflight import blockers

KEY = UniqueKey(table="t", columns=("k",), name="uq")

#: a trigger in which a statement waits for the test; the referential actions come after it, with a later snapshot
GATE = """
CREATE TABLE opened ();
CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    FOR _ IN 1 .. 3000 LOOP
        EXIT WHEN EXISTS (SELECT FROM public.opened);
        PERFORM pg_catalog.pg_sleep(0.01);
    END LOOP;
    RETURN coalesce(NEW, OLD);
END $$;
"""
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"

CHILDREN = {
    "cascade": "CREATE TABLE c (id int, p int REFERENCES t ON DELETE CASCADE)",
    "set null": "CREATE TABLE c (id int, p int REFERENCES t ON DELETE SET NULL)",
    "set default": "CREATE TABLE c (id int, p int DEFAULT 1 REFERENCES t ON DELETE SET DEFAULT)",
    "no action": "CREATE TABLE c (id int, p int REFERENCES t)",
    "partitioned": (
        "CREATE TABLE c (id int, p int REFERENCES t ON DELETE CASCADE) PARTITION BY RANGE (id); "
        "CREATE TABLE c1 PARTITION OF c FOR VALUES FROM (0) TO (99)"
    ),
    "grandchildren": (
        "CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES t ON DELETE CASCADE); "
        "CREATE TABLE d (p int REFERENCES c ON DELETE CASCADE)"
    ),
    "on itself": "ALTER TABLE t ADD COLUMN p int REFERENCES t ON DELETE CASCADE",
}


@pytest.fixture
def at_the_gate(sql, psycopg_connect, beside, value, wait_until) -> Callable[[str], None]:
    """Execute SQL in a session that locks no parents, while a statement of a batch waits at the gate; then open it."""

    def arrange(statement: str) -> None:
        sql(GATE)
        stranger = psycopg_connect(autocommit=True)
        stranger.execute("SET session_replication_role = replica")

        def meanwhile() -> None:
            wait_until(lambda: value(WAITS))
            stranger.execute(statement.encode())
            stranger.execute("INSERT INTO opened DEFAULT VALUES")

        beside(meanwhile)

    return arrange


@pytest.mark.parametrize("child", CHILDREN.values(), ids=CHILDREN)
@pytest.mark.representatives("cascade", "set null", "grandchildren")
def test_h103_child_of_a_writer_without_locks_is_not_deleted(sql, conn, live, archived, at_the_gate, child):
    """A child that a session without key-share locks commits during a batch is neither deleted nor changed."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int)")
    sql(f"INSERT INTO t VALUES (1, 7), (2, 7), (3, 7), (4, 8), (5, 8); {child}")
    if "TABLE d" in child:
        at_the_gate("INSERT INTO c VALUES (1, 3); INSERT INTO d VALUES (1)")
    elif "COLUMN p" in child:
        at_the_gate("INSERT INTO t VALUES (9, 9, 3)")
    else:
        at_the_gate("INSERT INTO c VALUES (1, 3)")
    sql("CREATE TRIGGER gate BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION gate()")
    with pytest.raises(Refused, match="foreign-key-references") as refusal:
        list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    assert "1 row of public." in str(refusal.value)
    assert 3 in live()
    assert sorted(live() + archived()) == sorted([1, 2, 3, 4, 5, *([9] if "COLUMN p" in child else [])])
    assert [(3,)] == sql("SELECT p FROM c" if "TABLE c" in child else "SELECT p FROM t WHERE id = 9")
    if "TABLE d" in child:
        assert [(1,)] == sql("SELECT p FROM d")

    sql(
        "DROP TRIGGER gate ON t; UPDATE t SET p = NULL"
        if "COLUMN p" in child
        else "DROP TRIGGER gate ON t; TRUNCATE c CASCADE"
    )
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    assert [1, 4] == live()[:2]


def test_h103_child_that_arrives_while_others_move_is_moved_too(sql, conn, live, at_the_gate):
    """A child that such a session adds to an extra while the extra's other children move follows the survivor too."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int)")
    sql("CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES t ON DELETE CASCADE)")
    sql("INSERT INTO t VALUES (1, 7), (2, 7), (3, 7); INSERT INTO c VALUES (1, 2)")
    at_the_gate("INSERT INTO c VALUES (2, 3)")
    sql("CREATE TRIGGER gate BEFORE UPDATE ON c FOR EACH ROW EXECUTE FUNCTION gate()")
    list(cleanup(conn, KEY, CleanupRule(references="repoint")))
    assert ([1], [(1, 1), (2, 1)]) == (live(), sql("SELECT id, p FROM c ORDER BY id"))


def test_h103_count_of_referential_actions_needs_no_default(sql, connect, live, at_the_gate):
    """A session in which changes are not counted by default counts them for its batches."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); CREATE TABLE c (id int, p int REFERENCES t ON DELETE CASCADE)")
    sql("INSERT INTO t VALUES (1, 7), (2, 7)")
    at_the_gate("INSERT INTO c VALUES (1, 2)")
    sql("CREATE TRIGGER gate BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION gate()")
    with pytest.raises(Refused, match="foreign-key-references"):
        list(cleanup(connect(track_counts="off"), KEY, CleanupRule()))
    assert ([1, 2], [(2,)]) == (live(), sql("SELECT p FROM c"))


def test_h103_batch_without_the_count_loses_a_child(sql, conn, live, at_the_gate, monkeypatch):
    """Without the count, the same interleaving loses the child: what the other tests force is the real danger."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); CREATE TABLE c (id int, p int REFERENCES t ON DELETE CASCADE)")
    sql("INSERT INTO t VALUES (1, 7), (2, 7)")
    at_the_gate("INSERT INTO c VALUES (1, 2)")
    sql("CREATE TRIGGER gate BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION gate()")
    monkeypatch.setattr(children, "actions", lambda _foreign_keys: False)
    list(cleanup(conn, KEY, CleanupRule()))
    assert ([1], []) == (live(), sql("SELECT p FROM c"))


def test_h103_role_that_cannot_count_is_refused(sql, connect, member):
    """If track_counts is off and the role may not change it, a table with acting foreign keys is refused beforehand."""
    sql(f"CREATE TABLE t (id int PRIMARY KEY, k int); ALTER TABLE t OWNER TO {member}")
    other = connect(track_counts="off")
    other.exec_driver_sql(f"SET ROLE {member}")
    assert "changes-not-counted" not in [f.id for f in blockers(other, KEY, CleanupRule())]
    sql("CREATE TABLE c (p int REFERENCES t ON DELETE SET NULL)")
    (refused,) = [f for f in blockers(other, KEY, CleanupRule()) if "track_counts" in f.message]
    assert ("changes-not-counted", "error") == (refused.id, refused.severity)
    assert refused.message.startswith("track_counts is off, and only a superuser may turn it on: no batch could count")
    assert "GRANT" not in refused.help


#: slows the list of locked rows down to the pace of the test, inside the statement that locks them
LOCK_GATE = """
CREATE TRIGGER gate BEFORE INSERT ON pg_temp.dupe_audit_locked FOR EACH ROW EXECUTE FUNCTION public.gate()
"""


def test_row_moved_to_another_partition_is_spared(sql, conn, at_the_gate, just_before):
    """A row that is moved to another partition while its batch locks rows is spared; all others are archived."""
    sql("CREATE TABLE p (id int, k int, r int, PRIMARY KEY (id, r)) PARTITION BY LIST (r)")
    sql("CREATE TABLE t PARTITION OF p FOR VALUES IN (1); CREATE TABLE u PARTITION OF p FOR VALUES IN (2)")
    sql("INSERT INTO p SELECT i, i % 2, 1 FROM generate_series(1, 20) AS i")
    at_the_gate("UPDATE p SET r = 2 WHERE id = 13")
    just_before("INSERT INTO pg_temp.dupe_audit_locked", lambda: conn.exec_driver_sql(LOCK_GATE))
    batches = list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    assert (17, 1) == (sum(batch.archived for batch in batches), sum(batch.spared for batch in batches))
    assert [(1, 1), (2, 1), (13, 2)] == sql("SELECT id, r FROM p ORDER BY id")


def test_h106_batches_shrink_to_the_target(sql, conn, clean, monkeypatch):
    """Where each row costs 200 ms, as below an unindexed foreign key, later batches take at most two rows."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t SELECT i, 7 FROM generate_series(1, 13) AS i")
    move = batches.move

    def measured(work, low, high, where_staged):
        """Move a batch, and leave out of its time what a busy machine has added."""
        moved, needed = move(work, low, high, where_staged), 0.2 * (high - low + 1)
        assert moved.seconds >= 0.99 * needed
        return moved._replace(seconds=needed)

    monkeypatch.setattr(batches, "move", measured)
    sql("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.2); RETURN OLD; END'")
    sql("CREATE TRIGGER slow BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION slow()")
    first, *others = [batch.archived for batch in clean(KEY)]
    assert 4 == first
    assert 2 >= max(others)
    assert 12 == first + sum(others)


def test_batch_of_wide_rows_is_limited_by_bytes_h13(sql, conn, clean):
    """A batch takes no more than 8 MiB of rows, however few these are, also where values are outside their pages."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v text, w bytea); ALTER TABLE t ALTER v SET STORAGE EXTERNAL")
    sql("INSERT INTO t SELECT i, 7, repeat('x', 1000000) FROM generate_series(1, 21) AS i")
    sizes = [batch.archived for batch in clean(KEY)]
    assert 8 >= max(sizes)
    assert 20 == sum(sizes)
