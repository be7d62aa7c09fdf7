"""The way back of a tree: partitions that have come or left since the upgrade, and drops that are killed."""

import pytest
from sqlalchemy import event

from dupe_audit import ledger
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.constraint.tree import Tree
from dupe_audit.errors import Refused
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.restore import restore
from dupe_audit.verify import verify

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
ROWS = "SELECT tableoid::regclass::text, t::text FROM t ORDER BY 1, 2"
LEFT = """
SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class c ON c.oid = indrelid
WHERE indisunique AND NOT indisprimary AND c.relname LIKE 't%' AND c.relnamespace = 'public'::regnamespace
"""
ARCHIVED = "SELECT dupe_audit_leaf, dupe_audit_problem FROM dupe_audit.archive_1 WHERE dupe_audit_restored_at IS NULL"


@pytest.fixture
def enforced(sql, conn):
    """Create the tree, clean it and enforce its key; return its rows before."""
    sql(TREE)
    before = sql(ROWS)
    list(cleanup(conn, KEY, CleanupRule()))
    enforce(conn, KEY, BuildRule())
    return before


@pytest.mark.parametrize(
    ("leave", "leaf", "back"),
    [
        ("ALTER TABLE t DETACH PARTITION t_a", "t_a", "ALTER TABLE t ATTACH PARTITION t_a FOR VALUES FROM (0) TO (10)"),
        (
            "ALTER TABLE t_b DETACH PARTITION t_b1",
            "t_b1",
            "ALTER TABLE t_b ATTACH PARTITION t_b1 FOR VALUES IN (11)",
        ),
    ],
)
def test_rows_of_a_detached_leaf_do_not_go_to_the_default_one(sql, conn, enforced, leave, leaf, back):
    """Rows of a leaf that left stay archived with the reason; once it is attached again, the same restore succeeds."""
    sql(leave)
    assert verify(conn, KEY).ok
    drop(conn, KEY, BuildRule())
    with pytest.raises(Refused, match="3 of 4 archived rows restored"):
        list(restore(conn, 1))
    problem = f"its partition public.{leaf} was detached or dropped, so it would go to a DEFAULT partition"
    assert [(f"public.{leaf}", problem)] == sql(ARCHIVED)
    sql(f"ALTER TABLE {leaf} DROP CONSTRAINT {leaf}_k_r_key")
    sql(back)
    list(restore(conn, 1))
    assert enforced == sql(ROWS)


def test_rows_of_a_leaf_that_was_divided_go_to_its_successor(sql, conn, enforced):
    """A row returns to whichever partition takes its values now, unless that is a DEFAULT one."""
    sql("ALTER TABLE t DETACH PARTITION t_a; CREATE TABLE t_a2 PARTITION OF t FOR VALUES FROM (0) TO (5)")
    sql("INSERT INTO t SELECT * FROM t_a; DROP TABLE t_a")
    drop(conn, KEY, BuildRule())
    list(restore(conn, 1))
    assert [(row.replace("t_a2", "t_a"), text) for row, text in sql(ROWS)] == enforced


def test_leaf_that_was_renamed(sql, conn, enforced):
    """The rows of a renamed partition return, and its part is dropped with the rest."""
    sql("ALTER TABLE t_a RENAME TO t_former; ALTER TABLE t_rest RENAME TO t_a")
    assert verify(conn, KEY).ok
    drop(conn, KEY, BuildRule())
    assert [] == sql(LEFT)
    list(restore(conn, 1))
    assert sorted(text for _, text in enforced) == sorted(text for _, text in sql(ROWS))


def test_partition_that_came_after_the_upgrade(sql, conn, enforced):
    """A clean table is attached and loses its part with the downgrade; PostgreSQL refuses a table with duplicates."""
    sql("CREATE TABLE t_new (LIKE t); INSERT INTO t_new VALUES (1, 7, 31)")
    sql("CREATE TABLE t_dirty (LIKE t); INSERT INTO t_dirty VALUES (1, 7, 41), (2, 7, 41)")
    sql("ALTER TABLE t ATTACH PARTITION t_new FOR VALUES FROM (30) TO (40)")
    with pytest.raises(Exception, match='could not create unique index "t_dirty_k_r_key"'):
        sql("ALTER TABLE t ATTACH PARTITION t_dirty FOR VALUES FROM (40) TO (50)")
    list(cleanup(conn, UniqueKey(table="t_dirty", columns=("k", "r")), CleanupRule(divergent="archive")))
    sql("ALTER TABLE t ATTACH PARTITION t_dirty FOR VALUES FROM (40) TO (50)")
    assert verify(conn, KEY).ok
    with pytest.raises(Refused, match=r"It is part of uq of public\.t\. First undo the revision that enforces uq"):
        list(restore(conn, 2))
    drop(conn, KEY, BuildRule())
    assert [] == sql(LEFT)
    list(restore(conn, 2))
    list(restore(conn, 1))
    assert len(enforced) + 3 == len(sql(ROWS))


def test_part_of_a_whole_is_not_dropped_alone(sql, conn, enforced):
    """Dropping a part alone is refused before anything is tried, and the message names the whole and the way out."""
    part = UniqueKey(table="t_a", columns=("k", "r"), name="t_a_k_r_key")
    with pytest.raises(Refused, match=r"constraint-in-use.*uq of public.t") as refused:
        drop(conn, part, BuildRule())
    assert "ALTER TABLE public.t DETACH PARTITION public.t_a;" in str(refused.value)
    assert verify(conn, KEY).ok


def killed_at(engine, count, action):
    """Execute *action* on a connection whose client dies at a statement; return whether it did."""
    statements = []

    def die(*_arguments):
        statements.append(1)
        if len(statements) >= count:
            raise ConnectionError

    with engine.connect() as connection:
        event.listen(engine, "before_cursor_execute", die)
        try:
            action(connection)
        except ConnectionError:
            pass
        finally:
            event.remove(engine, "before_cursor_execute", die)
        connection.invalidate()
    return len(statements) >= count


def half_built(conn, key, patch):
    """Build what an upgrade leaves if it is killed before it attaches the second leaf."""
    attach, attached = Tree._attach, []

    def once(self, *arguments):
        if attached:
            raise ConnectionError
        attached.append(attach(self, *arguments))

    patch.setattr(Tree, "_attach", once)
    with pytest.raises(ConnectionError):
        enforce(conn, key, BuildRule())


@pytest.mark.thorough
@pytest.mark.parametrize("state", ["complete", "half built", "leaves only"])
@pytest.mark.parametrize("form", ["constraint", "index"])
@pytest.mark.parametrize("every", [1, 3])
def test_way_back_that_is_killed_at_each_statement(sql, conn, engine, monkeypatch, form, state, every):
    """However often they are killed, and where, the same drop and restore leave no part and put every row back."""
    key = UniqueKey(table="t", columns=("k", "r"), name="uq", form=form)
    sql(TREE)
    before = sql(ROWS)
    list(cleanup(conn, key, CleanupRule()))
    if state == "complete":
        enforce(conn, key, BuildRule())
        ledger.mark_enforced(conn, 1, "uq")
    else:
        with monkeypatch.context() as patch:
            if state == "leaves only":
                patch.setattr(Tree, "_level", lambda *_: 1 / 0)
                with pytest.raises(ZeroDivisionError):
                    enforce(conn, key, BuildRule())
            else:
                half_built(conn, key, patch)

    def way_back(connection):
        drop(connection, key, BuildRule())
        list(restore(connection, 1))

    count = 1
    while killed_at(engine, count, way_back):
        count += every
    assert count > 20
    assert [] == sql(LEFT)
    assert before == sql(ROWS)
    assert [("restored", False, 0)] == sql(
        "SELECT state, building, (SELECT count(index_name) FROM dupe_audit.leaf) FROM dupe_audit.run"
    )


def test_number_of_parts_that_a_drop_removes(sql, conn, monkeypatch):
    """A drop after an unfinished upgrade reports the number of partitions from which it removed parts."""
    sql(TREE)
    list(cleanup(conn, KEY, CleanupRule()))
    with monkeypatch.context() as patch:
        patch.setattr(Tree, "_level", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            enforce(conn, KEY, BuildRule())
    assert [4, 0] == [drop(conn, KEY, BuildRule()) for _ in range(2)]
