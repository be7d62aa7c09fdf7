"""Adopting the parts of a tree: what is never adopted, who waits, and which locks a downgrade before it takes."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import event

from dupe_audit.cleanup import batches, cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.constraint.tree import Tree
from dupe_audit.errors import Refused
from dupe_audit.model import DROP_LOCK_TIMEOUT, BuildRule, CleanupRule, UniqueKey
from dupe_audit.verify import verify
from waiting import wait_for

KEY = UniqueKey(table="t", columns=("k", "r"), name="uq")
TREE = """
CREATE TABLE t (id int, k int, r int, PRIMARY KEY (id, r)) PARTITION BY RANGE (r);
CREATE TABLE t_a PARTITION OF t FOR VALUES FROM (0) TO (10);
CREATE TABLE t_b PARTITION OF t FOR VALUES FROM (10) TO (20) PARTITION BY LIST (r);
CREATE TABLE t_b1 PARTITION OF t_b FOR VALUES IN (11);
CREATE TABLE t_b2 PARTITION OF t_b DEFAULT;
INSERT INTO t VALUES (1, 7, 1), (2, 7, 1), (3, 7, 11), (4, 7, 11), (5, 7, 12), (6, 7, 12)
"""
LEFT = "SELECT relname FROM pg_class WHERE relname LIKE 'uq%'"


@pytest.fixture
def cleaned(sql, conn):
    """A tree with an inner level and a default leaf, from whose leaves a duplicate each was archived."""
    sql(TREE)
    list(cleanup(conn, KEY, CleanupRule()))


@pytest.fixture
def named(sql, cleaned):
    """In the ledger, the part of leaf t_a has a name, as after an upgrade that was interrupted before its build."""
    assert sql("UPDATE dupe_audit.leaf SET index_name = 'part' WHERE relation = 't_a'::regclass RETURNING 1") == [(1,)]


@pytest.fixture
def waits(conn, psycopg_connect):
    """Return whether the session of the upgrade waits for a lock on a table."""
    pid = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar()
    monitor = psycopg_connect(autocommit=True)
    blocked = f"SELECT FROM pg_locks WHERE NOT granted AND pid = {pid} AND relation = '{{}}'::regclass"
    return lambda table: monitor.execute(blocked.format(table)).rowcount


@pytest.mark.parametrize(
    ("planted", "refusal"),
    [
        ("ALTER TABLE t_a ADD CONSTRAINT part UNIQUE (k, r) DEFERRABLE", "wrong-definition"),
        ("CREATE UNIQUE INDEX part ON t_a (r, k)", "wrong-definition"),
        (
            """CREATE UNIQUE INDEX part ON t_a (k, r);
            UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'part'::regclass""",
            "invalid-index",
        ),
    ],
    ids=["deferrable", "other-columns", "invalid"],
)
def test_part_that_is_not_ours_is_never_adopted(sql, conn, cleaned, named, planted, refusal):
    """An index of a leaf that has the name of its part, but is invalid or another one, stops the build, and stays."""
    sql(planted)
    state = "SELECT indisvalid, indimmediate, indkey::text FROM pg_index WHERE indexrelid = 'part'::regclass"
    before = sql(state)
    with pytest.raises(Refused, match=refusal):
        enforce(conn, KEY, BuildRule())
    assert (before, []) == (sql(state), sql("SELECT 1 FROM pg_class WHERE relname = 'uq'"))


def test_valid_index_of_a_leaf_is_adopted(sql, conn, cleaned, named):
    """An index of a leaf that has the name and the definition of its part is adopted, and not built again."""
    sql("CREATE UNIQUE INDEX part ON t_a (k, r)")
    file = "SELECT pg_relation_filenode('part')"
    before = sql(file)
    enforce(conn, KEY, BuildRule())
    assert (before, True) == (sql(file), verify(conn, KEY).ok)
    assert sql("SELECT conname FROM pg_constraint WHERE conrelid = 't_a'::regclass AND contype = 'u'") == [("part",)]


def test_pruned_writer_does_not_wait_for_another_leaf(sql, conn, cleaned, psycopg_connect, waits):
    """While the attach of one leaf waits for its reader, a writer through the root to another one does not."""
    reader, writer = psycopg_connect(), psycopg_connect(autocommit=True)
    reader.execute("SELECT FROM t_a")
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(enforce, conn, KEY, BuildRule(lock_timeout="60s"))
        wait_for(lambda: waits("t_a"))
        writer.execute("SET lock_timeout = '1ms'")
        writer.execute("INSERT INTO t VALUES (10, 8, 11)")
        writer.execute("UPDATE t SET id = 11 WHERE r = 11 AND k = 8")
        reader.rollback()
        future.result()
    assert verify(conn, KEY).ok


def test_writer_behind_a_level_waits_no_longer_than_the_lock_timeout(sql, conn, cleaned, psycopg_connect, waits):
    """A writer that queues behind a step on the root gets through while that step's lock is still held by another."""
    holder, writer = psycopg_connect(), psycopg_connect(autocommit=True)
    holder.execute("SELECT FROM t WHERE r = 1")
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(enforce, conn, KEY, BuildRule(lock_timeout="100ms"))
        for n in range(3):
            wait_for(lambda: waits("t"))
            writer.execute(f"INSERT INTO t VALUES (1{n}, {8 + n}, 11)")
        holder.rollback()
        future.result()
    assert verify(conn, KEY).ok


@pytest.mark.parametrize(
    ("moment", "strong"), [("_level", False), ("_attach", True)], ids=["before-levels", "before-attach"]
)
def test_way_back_before_the_levels_have_the_constraint(sql, conn, cleaned, monkeypatch, moment, strong):
    """Until a level has the constraint, a downgrade drops indexes of leaves concurrently, and takes no strong lock."""
    with monkeypatch.context() as patch:
        patch.setattr(Tree, moment, lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            enforce(conn, KEY, BuildRule())
    statements = []
    event.listen(conn.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    drop(conn, KEY, BuildRule())
    assert 3 == sum("DROP INDEX CONCURRENTLY" in text for text in statements)
    assert strong == any("DROP CONSTRAINT" in text for text in statements)
    assert [] == sql(LEFT)


def test_downgrade_is_one_statement(sql, conn, cleaned):
    """The constraint of the whole tree is dropped by one statement on the root, in one message that also commits."""
    enforce(conn, KEY, BuildRule())
    statements = []
    event.listen(conn.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    drop(conn, KEY, BuildRule())
    assert [True] == ["public.t" in text for text in statements if "DROP CONSTRAINT" in text or "DROP INDEX" in text]
    assert [] == sql(LEFT)


@pytest.mark.parametrize(("allowed", "expected"), [(DROP_LOCK_TIMEOUT, "500ms"), ("100ms", "100ms")])
def test_drop_of_an_index_keeps_the_tree_waiting_no_longer_than_of_a_constraint(sql, conn, cleaned, allowed, expected):
    """The index of a tree cannot be dropped concurrently, so the limit for that does not apply; a shorter one does."""
    key = replace(KEY, form="index")
    enforce(conn, key, BuildRule())
    statements = []
    event.listen(conn.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    drop(conn, key, BuildRule(lock_timeout=allowed))
    (place,) = (number for number, text in enumerate(statements) if "DROP INDEX" in text)
    limits = [text for text in statements[:place] if "set_config('lock_timeout'" in text]
    assert f"'{expected}'" in limits[-1]
    assert [] == sql(LEFT)


def test_rows_that_move_between_ranking_and_batch(sql, conn, psycopg_connect, monkeypatch):
    """Extras and survivors that move to other leaves after the ranking are spared, and no key loses its last row."""
    sql(TREE)
    application, moved = psycopg_connect(autocommit=True), []
    move = batches.move

    def after_the_application(work, *args):
        if work.relation.table not in moved:
            moved.append(work.relation.table)
            if work.relation.table == "t_a":  # an extra leaves, so that no duplicate is left
                application.execute("UPDATE t SET r = 13 WHERE id = 2")
            elif work.relation.table == "t_b1":  # a survivor leaves, so that the extra is the last row of its key
                application.execute("UPDATE t SET r = 5 WHERE id = 3")
        return move(work, *args)

    monkeypatch.setattr(batches, "move", after_the_application)
    archived = sum(each.archived for each in cleanup(conn, KEY, CleanupRule()))
    assert (1, ["t_a", "t_b1", "t_b2"]) == (archived, moved)
    assert [(1, 1), (2, 13), (3, 5), (4, 11), (5, 12)] == sql("SELECT id, r FROM t ORDER BY id")
