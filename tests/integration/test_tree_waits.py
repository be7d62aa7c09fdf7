"""A partition that others hold: the work on the rest continues, the error names it, and nobody ends in a deadlock."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import enforce
from dupe_audit.constraint.tree import Tree
from dupe_audit.errors import Blocked
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres.turns import Turns
from dupe_audit.verify import verify
from waiting import PATIENCE, wait_for

KEY = UniqueKey(table="t", columns=("k", "r"), name="uq")
TREE = """
CREATE TABLE t (id int, k int, r int, PRIMARY KEY (id, r)) PARTITION BY RANGE (r);
CREATE TABLE t_a PARTITION OF t FOR VALUES FROM (0) TO (10);
CREATE TABLE t_b PARTITION OF t FOR VALUES FROM (10) TO (20) PARTITION BY LIST (r);
CREATE TABLE t_b1 PARTITION OF t_b FOR VALUES IN (11);
CREATE TABLE t_b2 PARTITION OF t_b DEFAULT;
CREATE TABLE t_rest PARTITION OF t DEFAULT;
INSERT INTO t VALUES (1, 7, 1), (2, 7, 1), (3, 7, 11), (4, 7, 11), (5, 7, 12), (6, 7, 12), (7, 7, 99), (8, 7, 99)
"""
IMPATIENT = BuildRule(lock_timeout="50ms", give_up_after="300ms")
INDEXES = """
SELECT i.indrelid::regclass::text, h.inhparent IS NOT NULL
FROM pg_index i LEFT JOIN pg_inherits h ON h.inhrelid = i.indexrelid
WHERE i.indisunique AND i.indisvalid AND NOT i.indisprimary
AND i.indrelid = ANY ('{t_a, t_b1, t_b2, t_rest}'::regclass[])
ORDER BY 1
"""


@pytest.fixture
def tree(sql):
    """A tree with an inner level and two default leaves, each of whose leaves has a duplicate."""
    sql(TREE)


def backend(conn):
    """Return the pid of a connection."""
    return conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()


def impatiently(conn):
    """Clean, and give up soon."""
    return list(cleanup(conn, KEY, CleanupRule(), lock_timeout="50ms", give_up_after="300ms"))


@pytest.mark.parametrize("held", [("t_b1",), ("t_a", "t_b1")])
@pytest.mark.representatives("held1")
def test_leaf_that_a_reader_holds(sql, conn, psycopg_connect, tree, held):
    """Every other leaf is built and attached; the error names the leaves that are left, and who holds them."""
    list(cleanup(conn, KEY, CleanupRule()))
    reader = psycopg_connect()
    for leaf in held:
        reader.execute(f"SELECT FROM {leaf}")
    with pytest.raises(Blocked) as blocked:
        enforce(conn, KEY, IMPATIENT)
    assert [(leaf, leaf not in held) for leaf in ("t_a", "t_b1", "t_b2", "t_rest")] == sql(INDEXES)
    message = str(blocked.value)
    assert all(f"public.{leaf}" in message for leaf in held)
    assert message.count(f"pid {reader.info.backend_pid} ") == len(held)
    reader.rollback()
    enforce(conn, KEY, BuildRule())
    assert verify(conn, KEY).ok


def test_leaf_that_a_writer_holds(sql, conn, psycopg_connect, tree, monkeypatch):
    """No build waits for an old writer of one leaf before every other leaf has its index."""
    monkeypatch.setattr("dupe_audit.constraint.existing_index.LONG", 0)
    list(cleanup(conn, KEY, CleanupRule()))
    writer = psycopg_connect()
    writer.execute("UPDATE t_a SET k = k")
    with pytest.raises(Blocked, match=rf"on public\.t_a waited .*pid {writer.info.backend_pid} "):
        enforce(conn, KEY, IMPATIENT)
    assert ["t_b1", "t_b2", "t_rest"] == [leaf for leaf, _ in sql(INDEXES)]
    writer.rollback()
    enforce(conn, KEY, BuildRule())
    assert verify(conn, KEY).ok


def test_leaves_whose_builds_would_wait(sql, conn, psycopg_connect, tree, monkeypatch):
    """If writers hold several leaves, none of those is built, and the error names each."""
    monkeypatch.setattr("dupe_audit.constraint.existing_index.LONG", 0)
    list(cleanup(conn, KEY, CleanupRule()))
    writer = psycopg_connect()
    writer.execute("UPDATE t_a SET k = k")
    writer.execute("UPDATE t_b2 SET k = k")
    with pytest.raises(Blocked, match=r"(?s)2 partitions stayed blocked.*public\.t_a: .*public\.t_b2: ") as blocked:
        enforce(conn, KEY, IMPATIENT)
    assert str(blocked.value).count(f"pid {writer.info.backend_pid} ") == 2
    assert ["t_b1", "t_rest"] == [leaf for leaf, _ in sql(INDEXES)]


@pytest.mark.parametrize("held", [("t_a",), ("t_a", "t_b2")])
@pytest.mark.thorough
def test_leaf_whose_extras_are_locked(sql, conn, psycopg_connect, tree, held):
    """The extras of every other leaf are archived; the error names the leaves that are left, and who holds them."""
    writer = psycopg_connect()
    for leaf in held:
        writer.execute(f"SELECT FROM {leaf} FOR UPDATE")
    with pytest.raises(Blocked) as blocked:
        impatiently(conn)
    message = str(blocked.value)
    assert all(f"public.{leaf}" in message for leaf in held)
    assert message.count(f"pid {writer.info.backend_pid} ") == len(held)
    done = [f"public.{leaf}" for leaf in ("t_a", "t_b1", "t_b2", "t_rest") if leaf not in held]
    archived = "SELECT dupe_audit_leaf FROM dupe_audit.archive_1 ORDER BY 1"
    assert [(leaf,) for leaf in done] == sql(archived)
    writer.rollback()
    impatiently(conn)
    assert 4 == len(sql(archived))


def test_leaf_that_cannot_be_ranked(sql, conn, psycopg_connect, tree):
    """While a leaf cannot be judged, nothing is archived in any, and the error names it."""
    holder = psycopg_connect()
    holder.execute("LOCK TABLE t_b1 IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(Blocked, match=rf"rank public.t_b1.*pid {holder.info.backend_pid} "):
        impatiently(conn)
    assert [(0,)] == sql("SELECT count(*) FROM dupe_audit.archive_1")


def test_partition_that_is_created_during_an_attach(sql, conn, psycopg_connect, tree, monkeypatch):
    """Who creates a partition locks the root and then its default leaf; an attach does not hold the leaf meanwhile."""
    list(cleanup(conn, KEY, CleanupRule()))
    application, monitor = psycopg_connect(), psycopg_connect(autocommit=True)
    application.execute("SET deadlock_timeout = '10ms'")
    waits = f"SELECT FROM pg_locks WHERE NOT granted AND pid = {backend(conn)}"
    attach, began = Tree._attach, threading.Event()

    def create() -> None:
        assert began.wait(PATIENCE)
        wait_for(lambda: monitor.execute(waits).rowcount)
        application.execute("CREATE TABLE t_late PARTITION OF t FOR VALUES FROM (20) TO (30)")
        application.commit()

    def attach_behind(self, part, *args):
        if part.relation.table == "t_rest":
            application.execute("LOCK TABLE ONLY t IN ACCESS EXCLUSIVE MODE")
            began.set()
        attach(self, part, *args)

    monkeypatch.setattr(Tree, "_attach", attach_behind)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(create)
        enforce(conn, KEY, BuildRule(lock_timeout="60s"))
        future.result()
    assert verify(conn, KEY).ok


def test_each_blocked_table_has_another_turn():
    """A table that is blocked comes after all others, and its last turn may take the whole wait."""
    taken = []
    turns = Turns("abc", "10min", str)
    for table in turns:
        with turns.turn(table):
            taken.append((table, turns.give_up_after))
            if table == "b" and len(taken) < 4:
                raise Blocked
    assert [("a", "2000ms"), ("b", "2000ms"), ("c", "2000ms"), ("b", "10min")] == taken


def test_build_gives_way_to_a_session_that_creates_a_partition(sql, conn, psycopg_connect):
    """Creating a partition neither waits for the build of the default leaf nor ends in a deadlock."""
    sql("CREATE TABLE t (id int, k int, r int) PARTITION BY RANGE (r); CREATE TABLE t_rest PARTITION OF t DEFAULT")
    reader, creator = psycopg_connect(), psycopg_connect(autocommit=True)
    reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class")
    building = "SELECT 1 FROM pg_stat_progress_create_index WHERE phase = 'waiting for old snapshots'"
    with ThreadPoolExecutor() as pool:
        enforced = pool.submit(enforce, conn, KEY, BuildRule())
        wait_for(lambda: sql(building))
        creator.execute("CREATE TABLE t_new PARTITION OF t FOR VALUES FROM (10) TO (20)")
        reader.rollback()
        enforced.result()
    assert verify(conn, KEY).ok
    assert [("t_new",), ("t_rest",)] == sql(
        "SELECT indrelid::regclass::text FROM pg_index WHERE indisunique AND indrelid::regclass::text LIKE 't\\_%' "
        "ORDER BY 1"
    )
