"""Rows of other tables that reference the rows of a partitioned table."""

import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import pytest

from dupe_audit.cleanup import cleanup
from dupe_audit.errors import Refused
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.preflight import preflight
from dupe_audit.restore import restore
from waiting import PATIENCE, wait_for

KEY = UniqueKey(table="t", columns=("k", "r"), name="uq")
TREE = """
CREATE TABLE t (id int, k int, r int, PRIMARY KEY (id, r)) PARTITION BY RANGE (r);
CREATE TABLE t_a PARTITION OF t FOR VALUES FROM (0) TO (10);
CREATE TABLE t_b PARTITION OF t FOR VALUES FROM (10) TO (20) PARTITION BY LIST (r);
CREATE TABLE t_b1 PARTITION OF t_b FOR VALUES IN (11);
CREATE TABLE t_b2 PARTITION OF t_b DEFAULT;
INSERT INTO t VALUES (1, 7, 1), (2, 7, 1), (3, 7, 11), (4, 7, 11), (5, 7, 12), (6, NULL, 1), (7, NULL, 1)
"""
CHILDREN = """
CREATE TABLE plain (id int PRIMARY KEY, t_id int, t_r int,
                    FOREIGN KEY (t_id, t_r) REFERENCES t (id, r) ON DELETE CASCADE);
CREATE TABLE parted (id int PRIMARY KEY, t_id int, t_r int,
                     FOREIGN KEY (t_id, t_r) REFERENCES t (id, r) ON DELETE SET NULL) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted DEFAULT;
CREATE INDEX ON plain (t_id, t_r);
CREATE INDEX ON parted (t_id, t_r);
INSERT INTO plain SELECT id, id, r FROM t;
INSERT INTO parted SELECT id, id, r FROM t
"""
SELF = """
ALTER TABLE t ADD parent int, ADD parent_r int,
    ADD FOREIGN KEY (parent, parent_r) REFERENCES t (id, r) ON DELETE SET NULL;
CREATE INDEX ON t (parent, parent_r)
"""
ALL = """
SELECT 'p', plain::text FROM plain UNION ALL SELECT 'q', parted::text FROM parted UNION ALL SELECT 't', t::text FROM t
"""
MOVED = """
SELECT 'p', t_id FROM plain WHERE id IN (2, 4) UNION ALL SELECT 'q', t_id FROM parted WHERE id IN (2, 4) ORDER BY 1, 2
"""


@pytest.mark.parametrize("more", ["", SELF])
@pytest.mark.representatives("more1")
def test_children_follow_the_survivor_and_return(sql, conn, more):
    """Children of each leaf's extras are pointed at the survivor; none is deleted or emptied, and all are restored."""
    sql(f"{TREE}; {CHILDREN}; {more}")
    before = sorted(sql(ALL))
    for run in (1, 2):
        report = preflight(conn, KEY, rule=CleanupRule(references="repoint"))
        assert [2, 2] == [each.rows for each in report.references if each.rows]
        list(cleanup(conn, KEY, CleanupRule(references="repoint"), give_up_after="2s"))
        assert [("p", 1), ("p", 3), ("q", 1), ("q", 3)] == sql(MOVED)
        assert [(5,)] == sql("SELECT count(*) FROM t")
        list(restore(conn, run))
        assert before == sorted(sql(ALL))


def test_references_are_refused_by_the_name_of_the_foreign_key(sql, conn, clean):
    """A refusal names the foreign key as its owner does, not the copy that PostgreSQL keeps for each leaf."""
    sql(f"{TREE}; {CHILDREN}")
    with pytest.raises(Refused) as refused:
        clean(KEY)
    assert {"foreign-key-references"} == {finding.id for finding in refused.value.findings}
    text = " ".join(finding.message for finding in refused.value.findings)
    assert "public.plain (plain_t_id_t_r_fkey, ON DELETE CASCADE)" in text
    assert "fkey1" not in text


def test_rows_that_reference_rows_of_the_same_tree(sql, conn):
    """An extra that another row of the tree references is refused at once, in preflight and in the cleanup."""
    sql(f"{TREE}; {SELF}; UPDATE t SET parent = 2, parent_r = 1 WHERE id = 5")
    rule = CleanupRule(references="repoint")
    assert "cannot-repoint" in {finding.id for finding in preflight(conn, KEY, rule=rule).findings}
    with pytest.raises(Refused, match="the table references itself"):
        list(cleanup(conn, KEY, rule, give_up_after="2s"))
    assert [(7,)] == sql("SELECT count(*) FROM t")


def test_children_that_would_collide(sql, conn):
    """A unique index of the children that the move would violate is found by preflight and by the cleanup."""
    sql(f"{TREE}; {CHILDREN}; CREATE UNIQUE INDEX once ON plain (t_id)")
    rule = CleanupRule(references="repoint")
    assert "repoint-collision" in {finding.id for finding in preflight(conn, KEY, rule=rule).findings}
    with pytest.raises(Refused, match="repoint-collision"):
        list(cleanup(conn, KEY, rule, give_up_after="2s"))
    assert [(7,)] == sql("SELECT count(*) FROM t")


def test_rows_that_a_foreign_key_or_a_check_of_the_tree_would_refuse(sql, conn, clean):
    """What an INSERT into a leaf would refuse is found under the leaf's own name, with keys that name the table."""
    sql(f"{TREE}; CREATE TABLE owner (id int PRIMARY KEY); INSERT INTO owner VALUES (7)")
    sql("ALTER TABLE t ADD FOREIGN KEY (k) REFERENCES owner (id)")
    sql("SET session_replication_role = replica; DELETE FROM owner; SET session_replication_role = DEFAULT")
    with pytest.raises(Refused, match="cannot-restore"):
        clean(KEY)
    sql("INSERT INTO owner VALUES (7)")
    assert 2 == sum(batch.archived for batch in clean(UniqueKey(table="t", columns=KEY.columns, where="t.k > 0")))


#: a default leaf, which whoever creates a partition locks after the root
REST = "CREATE TABLE t_rest PARTITION OF t DEFAULT; INSERT INTO t VALUES (8, 7, 99), (9, 7, 99)"


@pytest.mark.representatives("dupe_audit.cleanup.batches.move")
@pytest.mark.parametrize("batch", ["dupe_audit.cleanup.batches.move", "dupe_audit.restore.returning._return"])
def test_partition_that_is_created_while_children_move(sql, conn, psycopg_connect, monkeypatch, batch):
    """Creating a partition locks the root, its default leaf and the children; a batch uses the same order."""
    sql(f"{TREE}; {REST}; {CHILDREN}")
    before = sorted(sql(ALL))
    application, monitor = psycopg_connect(), psycopg_connect(autocommit=True)
    application.execute("SET deadlock_timeout = '10ms'")
    waits = (
        f"SELECT FROM pg_locks WHERE NOT granted AND pid = {conn.exec_driver_sql('SELECT pg_backend_pid()').scalar()}"
    )
    module, _, name = batch.rpartition(".")
    original, began = getattr(import_module(module), name), threading.Event()

    def create() -> None:
        assert began.wait(PATIENCE)
        wait_for(lambda: monitor.execute(waits).rowcount)
        application.execute("CREATE TABLE t_late PARTITION OF t FOR VALUES FROM (20) TO (30)")
        application.commit()

    def behind(work, *args):
        if not began.is_set() and work.relation.table in ("t_rest", "t"):
            application.execute("LOCK TABLE ONLY t IN ACCESS EXCLUSIVE MODE")
            began.set()
        return original(work, *args)

    monkeypatch.setattr(batch, behind)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(create)
        list(cleanup(conn, KEY, CleanupRule(references="repoint"), lock_timeout="60s"))
        list(restore(conn, 1, lock_timeout="60s"))
        future.result()
    assert before == sorted(sql(ALL))
